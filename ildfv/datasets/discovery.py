"""Search of a folder: each file belongs to a scan or a label map, or is quarantined or ignored with a reason."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ildfv.datasets.classify import classified
from ildfv.datasets.descriptions import described
from ildfv.datasets.identity import check_source, patient_of
from ildfv.datasets.labelling import give_labels, lost_scans
from ildfv.datasets.naming import person_of
from ildfv.datasets.records import Discovery, Label, LabelNames, Scan, Unused, VolumeFile
from ildfv.datasets.search import files_below
from ildfv.datasets.settings import DEFAULTS, ScanSettings
from ildfv.datasets.structures import Structures
from ildfv.errors import InputError, MissingPackageError, explained
from ildfv.progress import SILENT, Progress
from ildfv.scans.dicom import assemble_acquisition, separate
from ildfv.scans.geometry import tilted
from ildfv.scans.headers import Header
from ildfv.scans.libraries import quiet
from ildfv.scans.resample import must_resample
from ildfv.scans.volumefiles import files_of

NO_TABLE = "label maps are not read without a code table"


def discover(
    root: Path,
    settings: ScanSettings = DEFAULTS,
    *,
    labels: bool = True,
    known: Discovery | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Discovery:
    """The scans in a folder and its subfolders, paired with their label maps if `labels`. Only headers are read.

    All CT files with the same SeriesInstanceUID are one scan, even if they are in several folders. If they contain
    several acquisitions that interleave or repeat positions, each acquisition is a scan. A volume file is a label map
    if words in its name or folder mark it as one (see `naming`), otherwise a scan. A volume file has no patient
    identity, so the patient is derived from its path (`naming.person_of`).

    Parameters
    ----------
    root : path
        A folder, or one file.
    settings : ScanSettings
        Only `codes`, `packed`, `resample`, `patient_from` and `patients` are used. Masks of structures without a
        meaning in `codes` are ignored.
    labels : bool
        Whether to pair the scans with label maps. If not, label maps are ignored.
    known : Discovery, optional
        Input below `root` that is already known to be unusable.
    workers : int, optional
        Number of processes; one per core by default.

    Raises
    ------
    InputError
        `root` does not exist or contains no file, or `patient_from` is unknown. A fault of a single file or scan is an
        entry of `quarantined`.
    """
    check_source(settings.patient_source)
    found = Discovery() if known is None else Discovery([], list(known.quarantined), list(known.ignored))
    root = Path(root)
    files = files_below(root, found)
    base = root if root.is_dir() else root.parent
    assign(found, files, base, settings, labels=labels, workers=workers, progress=progress)
    found.ignored, found.quarantined = _by_folder(found.ignored), _by_folder(found.quarantined, few=3)
    for entries in (found.scans, found.quarantined, found.ignored):
        entries.sort(key=lambda entry: str(entry.source))
    return found


def assign(
    found: Discovery,
    files: Sequence[Path],
    base: Path,
    settings: ScanSettings,
    *,
    labels: bool,
    workers: int | None,
    progress: Progress,
) -> None:
    """Classifies the files and adds the scans, with their label maps if `labels`, and the unused files to `found`."""
    series: dict[str, list[Header]] = defaultdict(list)
    label_maps: list[Label] = []
    volumes: list[VolumeFile] = []
    descriptions: list[LabelNames] = []
    unused_objects: list[Unused] = []  # SEG and RT Structure Set objects, which `lost_scans` must not count as scans
    images: dict[tuple[str, str], list[Header]] = defaultdict(list)  # by series and reason
    structures = Structures(settings.codes if labels else None)
    with progress.task("Reading headers", total=len(files)) as advance:
        for item in classified(files, base, packed=settings.packed, workers=workers, advance=advance):
            match item:
                case Unused(quarantined=quarantined):
                    (found.quarantined if quarantined else found.ignored).append(item)
                case VolumeFile() if structures.is_mask(item.path.relative_to(base)):
                    label_maps.append(Label(item.path, item.kind, item.geometry))
                case VolumeFile() if must_resample(item.geometry) and not settings.resample:
                    found.quarantined.append(Unused(item.path, tilted(item.geometry)))
                case VolumeFile():
                    volumes.append(item)
                case Label():
                    label_maps.append(item)
                case LabelNames():
                    descriptions.append(item)
                case Header(kind="contours") if not labels:
                    unused_objects.append(Unused(item.path, NO_TABLE, quarantined=False))
                case Header(kind="contours") if fault := structures.faulty_contours(item):
                    unused_objects.append(Unused(item.path, fault))
                case Header(kind="contours"):
                    found.ignored += structures.unnamed_contours(item)
                    label_maps.append(dicom_label(item))
                case Header(other_image=True, ignored=str(reason)):
                    images[item.series or str(item.path.parent), reason].append(item)
                case Header(ignored=str(reason)):
                    found.ignored.append(Unused(item.path, reason, quarantined=False))
                case Header(kind="segmentation", problem=str(reason)):
                    unused_objects.append(Unused(item.path, reason))
                case Header(kind="segmentation"):
                    label_maps.append(dicom_label(item))
                case Header():
                    series[item.series].append(item)
    folders = {header.path.parent for members in series.values() for header in members}
    masks = structures.by_folder(volumes, folders, base)
    label_maps += masks
    volumes = [volume for volume in volumes if volume.path not in {mask.path for mask in masks}]
    label_maps, without_map = described(label_maps, descriptions)
    found.ignored += without_map
    unreadable = Counter(unused.source.parent for unused in found.quarantined)
    with quiet():
        for uid, members in series.items():
            _add_series(found, uid, members, unreadable, base, settings)
    found.ignored += _other_images(images, found.scans)
    found.scans = _with_study_patients(found.scans) + [volume_scan(base, volume) for volume in volumes]
    claimed = {path for scan in found.scans for path in scan.files}
    claimed |= {path for label in label_maps if label.geometry for path in label_files(label)}
    found.ignored = [unused for unused in found.ignored if unused.source not in claimed]
    found.quarantined = [unused for unused in found.quarantined if unused.source not in claimed]
    lost = lost_scans(found, base)
    for unused in unused_objects:
        (found.quarantined if unused.quarantined else found.ignored).append(unused)
    if labels:
        give_labels(found, label_maps, lost, structures, base)
    else:
        found.ignored += [Unused(label.path, NO_TABLE, quarantined=False) for label in label_maps]


def _by_folder(entries: list[Unused], *, few: int = 1) -> list[Unused]:
    """The entries, with more than `few` files of the same folder, series and reason merged into one entry."""
    groups: dict[tuple[Path, str, str], list[Unused]] = defaultdict(list)
    for entry in entries:
        groups[entry.source.parent, entry.reason, entry.series].append(entry)
    merged = []
    for (folder, *_), group in groups.items():
        files = sum(one.files for one in group)
        merged += group if len(group) <= few else [replace(group[0], source=folder, files=files)]
    return merged


def dicom_label(header: Header) -> Label:
    """The label map of a DICOM SEG or RT Structure Set."""
    assert header.segmented is not None
    kind = "contours" if header.kind == "contours" else "dicom"
    return Label(header.path, kind, segments=header.segmented.segments, reference=header.segmented)


def label_files(label: Label) -> tuple[Path, ...]:
    """The files of a label map."""
    if label.reference is not None or label.kind == "regions":
        return (label.path,)
    files = files_of(label.path, label.kind)
    return files if label.description is None else (*files, label.description)


def _add_series(
    found: Discovery,
    series: str,
    members: list[Header],
    unreadable: Counter[Path],
    base: Path,
    settings: ScanSettings,
) -> None:
    """Adds a scan for each acquisition of the series. Acquisitions and series that fail a check are quarantined."""
    try:
        acquisitions, copies = separate(members)
    except (InputError, MissingPackageError, OSError) as error:
        found.quarantined.append(_refused_series(series, members, error))
        return
    found.ignored += [
        Unused(copy, "identical copy of another file of the series", quarantined=False) for copy in copies
    ]
    for acquisition in acquisitions:
        name = f"{series} {acquisition.name}" if acquisition.name else series
        folders = Counter(header.path.parent for header in acquisition.headers)
        try:
            assembled = assemble_acquisition(acquisition, resample=settings.resample)
            patient = patient_of(assembled, base, settings.patient_source)
        except (InputError, OSError) as error:
            found.quarantined.append(_refused_series(name, list(acquisition.headers), error))
            continue
        source = _source(list(acquisition.headers))
        scan = Scan(source, "dicom", patient, name, assembled.geometry, tuple(assembled.files), assembled)
        found.scans.append(replace(scan, unreadable=sum(unreadable[folder] for folder in folders)))


def _source(members: list[Header]) -> Path:
    """The source of a series: its only file, or the folder that contains all its files."""
    return (
        members[0].path if len(members) == 1 else Path(os.path.commonpath({member.path.parent for member in members}))
    )


def _refused_series(series: str, members: list[Header], error: Exception) -> Unused:
    """The entry of a series that cannot be used."""
    if isinstance(error, OSError):  # deleted after its header was read; slices prepared earlier are kept
        reason = f"must be readable, got {error.strerror or error}"
        return Unused(_source(members), reason, len(members), patient=members[0].patient)
    return Unused(_source(members), explained(error), len(members), series, members[0].patient)


def _other_images(images: dict[tuple[str, str], list[Header]], scans: list[Scan]) -> list[Unused]:
    """An entry for each series of images that are not slices of a CT scan.

    The patient of images without a PatientID is the patient of a scan of the same study.
    """
    patients = {scan.dicom.study: scan.patient for scan in scans if scan.dicom and scan.dicom.study}
    found = []
    for (_, reason), members in images.items():
        patient = members[0].patient or patients.get(members[0].study, "")
        source, series = _source(members), members[0].series
        found.append(Unused(source, reason, len(members), series, patient, quarantined=False, other_image=True))
    return found


def _with_study_patients(scans: list[Scan]) -> list[Scan]:
    """The scans, each with the number of patients in its study. Valid DICOM has one patient per study."""
    studies = [scan.dicom.study if scan.dicom else "" for scan in scans]
    patients: dict[str, set[str]] = defaultdict(set)
    for scan, study in zip(scans, studies, strict=True):
        patients[study].add(scan.patient)
    return [
        replace(scan, patients_in_study=len(patients[study])) if study else scan
        for scan, study in zip(scans, studies, strict=True)
    ]


def volume_scan(base: Path, volume: VolumeFile) -> Scan:
    """The scan of a volume file below `base`, with the patient derived from its path."""
    inside = volume.path.relative_to(base)
    patient, _ = person_of(inside)
    return Scan(
        volume.path, volume.kind, patient, inside.as_posix(), volume.geometry, files_of(volume.path, volume.kind)
    )
