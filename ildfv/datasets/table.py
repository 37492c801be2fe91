"""A CSV table of scans, their label maps and patients, which `prepare` uses instead of searching a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ildfv.columns import meant, spelled
from ildfv.datasets.discovery import assign, dicom_label, volume_scan
from ildfv.datasets.identity import LISTED, check_source
from ildfv.datasets.image_files import image_scan
from ildfv.datasets.pairing import mismatch
from ildfv.datasets.records import Discovery, Label, Scan, Unused, VolumeFile
from ildfv.datasets.search import files_below
from ildfv.datasets.settings import DEFAULTS, ScanSettings
from ildfv.datasets.structures import Structures
from ildfv.errors import InputError, MissingPackageError, check
from ildfv.parsing import read_csv
from ildfv.progress import SILENT, Progress
from ildfv.scans.archives import is_archive
from ildfv.scans.dicomfile import is_dicom, start_of
from ildfv.scans.geometry import tilted
from ildfv.scans.labels import Codes
from ildfv.scans.libraries import quiet
from ildfv.scans.read_header import read_header
from ildfv.scans.region_text import read_region_file
from ildfv.scans.resample import must_resample
from ildfv.scans.volumefiles import file_geometry, format_of, label_header

COLUMNS = ("scan", "label", "patient", "lung")
SYNONYMS = {  # names that are not accepted, because tables use them with different meanings
    "label": ("label map", "mask", "segmentation", "seg"),
    "patient": ("patient id", "patient name", "patient number", "subject", "subject id", "person"),
    "lung": ("lung mask", "mask"),
}
SEPARATOR = ";"  # between the label maps of one scan
REGIONS = ".txt"  # suffix of a text file of regions (`scans.region_text`)


@dataclass(frozen=True)
class ListedScan:
    """A scan with its label maps: paths below the folder of the scans."""

    where: str  # for messages, such as "row 3 of scans.csv" or "patient 7"
    scan: Path
    labels: tuple[Path, ...]
    patient: str  # "": determined as for a scan that a search finds
    lung: Path | None = None  # lung mask
    fault: str = ""  # why the scan cannot be used


def listed_scans(
    table: Path,
    base: Path,
    settings: ScanSettings = DEFAULTS,
    *,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Discovery:
    """The scans of the table, with their label maps if the settings have codes. Only headers are read.

    Parameters
    ----------
    table : path
        A CSV file with the columns scan, label, patient and lung; other columns are not used. scan: a volume file, or a
        folder with one DICOM series; an image if the settings have `grey`. label: empty, or label maps separated by
        ";". patient: empty to determine the patient as `discover` does. lung: empty, or a lung mask.
    base : path
        The folder to which paths are relative; all files must be below it.
    settings : ScanSettings
        Only `codes`, `resample`, `patient_from` and `grey` are used.

    Raises
    ------
    InputError
        If the file is not a valid table. An error in a row quarantines its scan; the reason names the row.
    """
    return with_listed(Discovery(), read_table(table, base), base, settings, workers=workers, progress=progress)


def with_listed(
    found: Discovery,
    rows: Sequence[ListedScan],
    base: Path,
    settings: ScanSettings,
    *,
    workers: int | None,
    progress: Progress,
) -> Discovery:
    """`found` with the listed scans added. A scan with an error is quarantined; the reason starts with `where`."""
    check_source(settings.patient_source)
    uses = Counter(path for row in rows for path in (row.scan, *row.labels))
    with progress.task("Reading headers", total=len(rows)) as advance, quiet():
        for row in rows:
            try:
                check(not row.fault, row.fault)
                for path in (row.scan, *row.labels):
                    if uses[path] > 1:
                        raise InputError(f"a path must be listed once, got {path.name} {uses[path]} times")
                found.scans.append(_scan(row, base, settings, workers))
            except (InputError, MissingPackageError, OSError) as error:
                reason = f"must be readable, got {error.strerror or error}" if isinstance(error, OSError) else error
                found.quarantined.append(Unused(row.scan, f"{row.where}: {reason}", 1 + len(row.labels)))
            advance(1)
    return found


def read_table(table: Path, base: Path) -> list[ListedScan]:
    """The rows of the table. Raises `InputError` if the file is not a valid table."""
    try:
        delimiter, lines = read_csv(table)
    except OSError as error:
        raise InputError(f"--table must be a readable CSV file, got {table}: {error.strerror}") from error
    rule = f"{table} must separate columns by commas or tabs, because semicolons separate the label maps of a scan"
    check(delimiter != ";", f"{rule}, got semicolons")
    columns = [spelled(name) for name in lines[0][1]] if lines else []
    known = [name for name in columns if name in COLUMNS]
    if "scan" not in known or len(set(known)) < len(known):
        got = ", ".join(columns) or "none"
        rule = f"the columns of {table} must be scan and, if needed, {', '.join(COLUMNS[1:])}, separated by commas"
        raise InputError(f"{rule}, got {got}")
    for name in columns:
        found = [] if name in known else meant(name, [one for one in COLUMNS if one not in known], SYNONYMS)
        check(not found, f'{table}: column "{name}" may mean {" or ".join(found)}: rename or delete it')
    rows = []
    for number, line in lines[1:]:
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(columns):
            raise InputError(f"row {number} of {table} must have one cell per column ({len(columns)}), got {len(line)}")
        cells = {name: cell.strip() for name, cell in zip(columns, line, strict=True)}
        if os.sep == "/":  # the table may have been written on Windows
            cells |= {name: cells[name].replace("\\", "/") for name in columns if name != "patient"}
        labels = [part.strip() for part in cells.get("label", "").split(SEPARATOR)]
        rows.append(
            ListedScan(
                f"row {number} of {table.name}",
                base / cells["scan"],
                tuple(base / label for label in labels if label),
                cells.get("patient", ""),
                base / cells["lung"] if cells.get("lung") else None,
            )
        )
    if not rows:
        raise InputError(f"{table} must list at least one scan, got none")
    return rows


def unused_columns(table: Path) -> list[str]:
    """The columns of the table that are not used, as in the file. The table must be valid (`read_table`)."""
    header = read_csv(table)[1][0][1]
    return [name.strip() or f"column {i}" for i, name in enumerate(header, 1) if spelled(name) not in COLUMNS]


def _scan(row: ListedScan, base: Path, settings: ScanSettings, workers: int | None) -> Scan:
    """The scan of a row with its label maps. Raises `InputError` for an error in the row."""
    for path in (row.scan, *row.labels, *([row.lung] if row.lung else [])):
        if path == base or not path.is_relative_to(base) or ".." in path.relative_to(base).parts:
            raise InputError(f"a path must be below {base}, got {path}")
        if not path.exists():
            raise InputError(f"a path must exist, got {path}")
    if settings.grey is not None:
        check(not row.labels, "an image must have no label map, got one: label slices with --labels")
        scan = image_scan(row.scan, base, settings.grey)
    else:
        source = LISTED if row.patient else settings.patient_source
        scan = _listed_scan(row.scan, base, replace(settings, patient_from=source, patients=None), workers)
    if row.lung is not None:
        scan = replace(scan, mask=row.lung)
    if row.patient:
        series = None if scan.dicom is None else replace(scan.dicom, patient=row.patient)
        scan = replace(scan, patient=row.patient, dicom=series)
    if settings.codes is None:
        return scan
    return replace(scan, labels=tuple(_label(path, scan, base, settings.codes) for path in row.labels))


def _listed_scan(path: Path, base: Path, settings: ScanSettings, workers: int | None) -> Scan:
    """The scan in a volume file, or the only DICOM series in a file or folder."""
    found = Discovery()
    if path.is_file() and not is_dicom(start := start_of(path)):
        kind = format_of(path, start)
        if kind is None:
            zipped = ", a zip archive, which is read only with `prepare --packed`" if is_archive(path) else ""
            raise InputError(f"a scan must be DICOM, NIfTI, NRRD or MetaImage, got another kind of file{zipped}")
        volume = VolumeFile(path, kind, file_geometry(path, kind))
        if must_resample(volume.geometry) and not settings.resample:
            raise InputError(tilted(volume.geometry))
        return volume_scan(base, volume)
    files = files_below(path, found)
    assign(found, files, base, replace(settings, packed=True), labels=False, workers=workers, progress=SILENT)
    series = [scan for scan in found.scans if scan.dicom is not None]
    if len(series) == 1:
        return series[0]
    faults = "; ".join(unused.reason for unused in found.quarantined[:3])
    what = "a folder" if path.is_dir() else "a DICOM file"
    more = f" ({faults})" * bool(faults)
    raise InputError(f"{what} must contain one usable DICOM series, got {len(series)}{more}")


def _label(path: Path, scan: Scan, base: Path, codes: Codes) -> Label:
    """The label map in a row. Raises `InputError` if it cannot be used for its scan."""
    try:
        if path.suffix.lower() == REGIONS and scan.dicom is not None:
            labels = read_region_file(path).labels
            for name in labels:
                codes.segment_meaning(name)
            return Label(path, "regions", segments=labels)
        if is_dicom(start := start_of(path)):
            seg = read_header(path)
            if seg.segmented is None:
                reason = "must be a DICOM SEG or RT Structure Set, got another DICOM file"
                raise InputError(seg.problem or seg.ignored or reason)
            if seg.segmented.series and (scan.dicom is None or scan.dicom.series not in seg.segmented.series):
                raise InputError(f"must reference the series of its scan, got {seg.segmented.series[0]}")
            if seg.kind == "contours" and (fault := Structures(codes).faulty_contours(seg)):
                raise InputError(fault)
            return dicom_label(seg)
        kind = format_of(path, start)
        if kind is None:
            raise InputError("must be DICOM SEG, NIfTI, NRRD or MetaImage, got another kind of file")
        geometry, segments = label_header(path, kind)
        label = Label(path, kind, geometry, tuple(segment.name for segment in segments))
        if wrong := mismatch(scan, label):
            raise InputError(wrong)
        resolved = Structures(codes).resolved(label, scan, base)
        if isinstance(resolved, str) and not label.segments:
            raise InputError(f"is {resolved}")
        return label if isinstance(resolved, str) else resolved
    except InputError as error:
        raise InputError(f"label map {path.name} {error}") from error
