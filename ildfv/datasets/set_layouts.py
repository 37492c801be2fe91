"""Scans, label maps and patients of published sets of CT scans, from the folders in which they are distributed.

hug-ild   HUG-ILD database (Depeursinge et al., 2012): ILD_DB_txtROIs/<patient>/[<series>/] with CT-…-<slice>.dcm and a
          text file of regions (`scans.region_text`). ILD_DB_volumeROIs and ILD_DB_lungMasks have the same DICOM files
          and are not read. HRCT_pilot is ignored: its patients may also be in other folders.
medseg    MedSeg COVID-19 volumes: rp_im/<n>.nii.gz, rp_msk/<n>.nii.gz, and lung masks rp_lung_msk/<n>.nii.gz
ltrc      Lung Tissue Research Consortium. The layout of its label files is not published. This module expects
          <patient>/[<scan>/] with one DICOM series or one volume file, and one label map whose name marks it as such

docs/layouts.md states what is published and what is assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ildfv.datasets.naming import is_label_map, stem
from ildfv.datasets.records import Discovery, Unused
from ildfv.datasets.search import files_below
from ildfv.datasets.table import REGIONS, ListedScan
from ildfv.errors import check
from ildfv.scans.volumefiles import SUFFIXES

DICOM = ".dcm"
NIFTI = (".nii", ".nii.gz")
PILOT = "HRCT_pilot"
NOTES = {
    "hug-ild": (
        "only regions are labelled: on a slice with a region, a pattern without a region counts as absent",
        "unless --codes states otherwise, fibrosis counts as none of the four patterns",
    ),
    "medseg": ("reticular, honeycomb and emphysema were not assessed, and count as absent on labelled slices",),
    "ltrc": (),
}
CODES = {"hug-ild": "hug-ild", "medseg": "medseg"}  # the code table that is used without --codes, by set


def listed_by_layout(name: str, folder: Path, found: Discovery) -> list[ListedScan]:
    """The scans of the set `name` in a folder. Folders that are not used are added to `found`.

    Raises
    ------
    InputError
        The name is unknown, or the folder does not have this layout. A fault of a single scan is in `ListedScan.fault`.
    """
    check(name in LAYOUTS, f'--layout must be one of {", ".join(LAYOUTS)}, got "{name}"')
    check(folder.is_dir(), f"--layout {name} requires the folder of the data set, got {folder}, which is not a folder")
    rows = LAYOUTS[name](folder, found)
    check(bool(rows), f"--layout {name} must find at least one scan, got none in {folder}: see docs/layouts.md")
    return rows


def _hug_ild(folder: Path, found: Discovery) -> list[ListedScan]:
    top = folder / "ILD_DB_txtROIs" if (folder / "ILD_DB_txtROIs").is_dir() else folder
    dicom: dict[Path, list[Path]] = {}
    texts: dict[Path, list[Path]] = {}
    for path in files_below(top, found):
        inside = path.relative_to(top)
        rule = "--layout hug-ild needs the series of the folder ILD_DB_txtROIs, which have text files with regions"
        check(not {"roi_mask", "lung_mask"} & set(inside.parts), f"{rule}, got {inside.parent}")
        if path.suffix.lower() == DICOM:
            dicom.setdefault(path.parent, []).append(path)
        elif path.suffix.lower() == REGIONS:
            texts.setdefault(path.parent, []).append(path)
    pilot = [path for path in dicom if PILOT in path.relative_to(top).parts]
    for path in pilot:
        reason = f"{PILOT} is not read, because its patients may also be in other folders: prepare it separately"
        found.ignored.append(Unused(path, reason, len(dicom[path]), quarantined=False))
    rows = []
    for path in sorted(set(dicom) - set(pilot)):
        check(path != top, f"--layout hug-ild requires one folder per patient, got DICOM files directly in {top}")
        patient, own = path.relative_to(top).parts[0], texts.get(path, [])
        fault = "" if len(own) == 1 else f"a series must have one text file of regions, got {len(own)}"
        rows.append(ListedScan(f"patient {patient}", path, tuple(own[:1]), patient, fault=fault))
    return rows


def _medseg(folder: Path, found: Discovery) -> list[ListedScan]:
    images, masks, lungs = (folder / name for name in ("rp_im", "rp_msk", "rp_lung_msk"))
    for path in (images, masks):
        check(path.is_dir(), f"--layout medseg requires the folder {path.name}, got none in {folder}")
    rows = []
    for path in sorted(path for path in images.iterdir() if _is_nifti(path)):
        case = stem(path.name)
        mask, lung = _named(masks, case), _named(lungs, case) if lungs.is_dir() else None
        missing = [kind.name for kind, file in ((masks, mask), (lungs, lung)) if file is None and kind.is_dir()]
        fault = f"{path.name} must have a file of the same name in {missing[0]}, got none" if missing else ""
        rows.append(ListedScan(f"case {case}", path, () if mask is None else (mask,), case, lung, fault))
    used = {path for row in rows for path in (row.scan, *row.labels, row.lung)}
    for path in files_below(folder, found):
        if path not in used:
            found.ignored.append(Unused(path, "not part of the layout medseg", quarantined=False))
    return rows


def _is_nifti(path: Path) -> bool:
    """Whether a NIfTI file has this name and is not hidden. macOS writes a hidden file for each file."""
    return path.name.lower().endswith(NIFTI) and not path.name.startswith(".")


def _named(folder: Path, case: str) -> Path | None:
    return next((path for suffix in NIFTI if (path := folder / f"{case}{suffix}").is_file()), None)


def _ltrc(folder: Path, found: Discovery) -> list[ListedScan]:
    files = [path for path in files_below(folder, found) if not path.name.startswith(".")]
    volumes: dict[Path, list[Path]] = {}
    maps: dict[Path, list[Path]] = {}
    for path in files:
        inside = path.relative_to(folder)
        if path.name.lower().endswith(SUFFIXES):
            check(len(inside.parts) > 1, f"--layout ltrc requires one folder per patient, got {path.name} in {folder}")
            (maps if is_label_map(inside) else volumes).setdefault(path.parent, []).append(path)
    rows = []
    for home, own in sorted(maps.items()):
        inside, scans = home.relative_to(folder), volumes.get(home, [])
        fault = "" if len(own) == 1 else f"a scan must have one label map in its folder, got {len(own)}"
        fault = fault or ("" if len(scans) < 2 else f"a folder must contain one scan, got {len(scans)} volume files")
        rows.append(ListedScan(inside.as_posix(), (scans or [home])[0], tuple(own[:1]), inside.parts[0], fault=fault))
    patients = {path.relative_to(folder).parts[0] for path in files if path.parent != folder}
    for name in sorted(patients - {row.patient for row in rows}):
        rows.append(ListedScan(name, folder / name, (), name, fault="a patient must have a label map, got none"))
    return rows


LAYOUTS: dict[str, Callable[[Path, Discovery], list[ListedScan]]] = {
    "hug-ild": _hug_ild,
    "medseg": _medseg,
    "ltrc": _ltrc,
}
