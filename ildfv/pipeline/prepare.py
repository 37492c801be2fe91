"""Preparation of scans in a workspace, which is created if it does not exist."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ildfv.datasets.identity import hashed
from ildfv.datasets.image_files import IMAGE
from ildfv.datasets.input import find_scans
from ildfv.datasets.label_file import LabelFile, read_label_file
from ildfv.datasets.naming import person_of
from ildfv.datasets.planned_slices import PlannedSlices
from ildfv.datasets.prepare import prepare
from ildfv.datasets.records import Discovery, Unused
from ildfv.datasets.report import PrepareReport, joined, unused_dict
from ildfv.datasets.search import check_scans
from ildfv.datasets.slice_labels import assign_labels
from ildfv.datasets.table import read_table
from ildfv.datasets.unpacked import Unpacked, unpacked
from ildfv.errors import InputError, check
from ildfv.patterns import UNLABELLED
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.scans.images import Grey
from ildfv.scans.labels import Codes
from ildfv.store.atomic import write_json
from ildfv.store.checksummed import write_checksummed
from ildfv.store.parts import Parts
from ildfv.version import __version__

CODES_FILE = "codes.toml"  # table of label codes that belongs to the scans; the default
SLICE_LABELS = "ildfv slice labels"  # kind of slice-labels.json
FOLDERS_ABOVE = 2  # number of parent folders that are searched for it


def prepare_scans(
    scans: Path,
    root: Path,
    *,
    codes: str | None = None,
    table: Path | None = None,
    packed: bool = False,
    unlabelled_is_negative: bool = False,
    resample: bool = False,
    threshold: int | None = None,
    seed: int | None = None,
    salt: str | None = None,
    patient_from: str = "id",
    workers: int | None = None,
    labels: Path | None = None,
    grey: Grey | None = None,
    lung_masks: Path | None = None,
    hu: bool = False,
    progress: Progress = SILENT,
) -> dict:
    """The result of this run as JSON values, after the slices of all usable scans are stored in the workspace.

    Parameters
    ----------
    scans : path
        A folder, which is searched with all its subfolders, or one file.
    root : path
        The workspace. It is created only if `scans` contains files and `codes` is valid.
    codes : str, optional
        TOML file, or name of a shipped table. Default: `codes.toml` in the folder of the scans or up to two folders
        above it, so that `prepare scans/patient-0001` has the same labels as `prepare scans`. If there is none, label
        maps are not read.
    table : path, optional
        CSV table of scans, label maps and patients (`datasets.table`): only listed files are used.
    packed : bool
        Read DICOM files that are compressed with gzip or lack the preamble.
    unlabelled_is_negative : bool
        Slices with lung but without a labelled voxel show no pattern. By default they are unlabelled.
    resample : bool
        Resample scans that are tilted up to 30° or unevenly spaced, which are refused otherwise (`scans.resample`).
    threshold, seed, salt : optional
        Settings of a new workspace. An existing one must have the same.
    patient_from : {"id", "folder", "study"}
        Identity of the patient of a DICOM series (see `datasets.prepare.prepare`).
    workers : int, optional
        Number of processes; one per core by default.
    labels : path, optional
        CSV file of labels of single slices (`datasets.label_file`). The workspace keeps them; a later file replaces
        them. Its column `patient`, if any, replaces `patient_from`.
    grey : Grey, optional
        Read only images (PNG, JPEG, TIFF), with these HU of their smallest and largest grey level.
    lung_masks : path, optional
        Folder of the user's lung masks (`datasets.lung_masks`).
    hu : bool
        Also store the slices in HU (`scans.hounsfield`), for layers filters and patches.

    Returns
    -------
    dict
        "scans", "kept" (those of an earlier run), "patients", "slices" and "labelled_slices" of this run; "workspace":
        the same numbers for the whole workspace; "codes": the table; "notes"; "prepared", "quarantined" and "ignored":
        the outcome for each file.
    """
    scans = Path(scans)
    check_scans(scans)
    labelled = None if labels is None else read_label_file(labels)  # before anything is written
    patients = _listed_patients(labelled)
    with unpacked(scans, packed=packed, progress=progress) as view:
        chosen = _checked_codes(view, codes, table)
        given = {"threshold": threshold, "seed": seed, "salt": salt}
        workspace = Workspace.open_or_create(root, version=__version__, **given)
        if workspace.settings.slices is not None:
            raise InputError(
                f"{root} reads its slices from {workspace.settings.slices}: prepare into another workspace"
            )
        report = prepare(
            view.folder,
            workspace.slices_dir,
            codes=chosen,
            table=table,
            packed=packed,
            unlabelled_is_negative=unlabelled_is_negative,
            resample=resample,
            salt=workspace.settings.salt,
            patient_from=patient_from,
            grey=grey,
            patients=patients,
            lung_masks=lung_masks,
            hu=hu,
            view=view,
            check_found=None if labelled is None else partial(_check_rows, labelled, workspace.settings.salt, view),
            workers=workers,
            progress=progress,
        )
        notes = [] if patients is not None else _patient_provenance(report, view.folder)
        if labelled is not None:
            notes += _store_slice_labels(workspace, labelled, report, view, progress)
        run = {scan.series for scan in report.prepared}
        chosen, content = view.shown(chosen), view.shown(report.to_dict())
        notes = view.shown(notes)
    if labelled is None or chosen is not None:  # labels of slices need no label maps
        progress.note(_which_codes(chosen))
    summary = {
        "scans": len(report.prepared),
        "kept": sum(scan.kept for scan in report.prepared),
        "patients": len({scan.patient for scan in report.prepared}),
        "slices": report.slices,
        "labelled_slices": _labelled_slices(workspace, run),
        "removed_scans": len(report.removed),
        "removed_slices": sum(one.slices for one in report.removed),
        "codes": chosen,
        "unlabelled_is_negative": unlabelled_is_negative,
        "notes": notes,
        "workspace": _totals(workspace),
    }
    document = {**summary, **content, "prepared": [_without_kept(scan) for scan in content["prepared"]]}
    # Not in `results`, because paths may identify patients.
    write_json(workspace.root / "prepare.json", _without_kept(document), private=True)
    return {**summary, **content}


def _store_slice_labels(
    workspace: Workspace, labels: LabelFile, report: PrepareReport, view: Unpacked, progress: Progress
) -> list[str]:
    """Assigns the labels and stores them in the workspace; the notes for the report."""
    if not report.prepared:
        return []  # nothing was prepared; the report lists the reasons
    salt = workspace.settings.salt
    sources = {scan.series: Path(scan.source) for scan in report.prepared}
    is_refused = _refused(report.quarantined, view, salt)
    found, refused = assign_labels(
        labels, workspace.stored_slices(), sources, salt, original=view.original, is_refused=is_refused
    )
    write_checksummed(workspace.slice_labels_file, {"kind": SLICE_LABELS, "version": 1, "labels": found.to_dict()})
    known = {name: [row for row in rows.values() if max(row) > UNLABELLED] for name, rows in found.counts.items()}
    slices, scans = sum(map(len, known.values())), sum(map(bool, known.values()))
    check(slices > 0, f"{labels.path} must label at least one prepared slice, got none")
    progress.note(f"{slices:,} slices of {scans:,} scans labelled by {labels.path}")
    return [f"{refused} rows of the labels belong to quarantined files and were ignored"] if refused else []


def _check_rows(labels: LabelFile, salt: str, view: Unpacked, found: Discovery) -> None:
    """InputError for a row that does not fit what the headers say, before any slice is windowed."""
    sources = {hashed(scan.series, salt): scan.source for scan in found.scans}
    if sources:
        is_refused = _refused(found.quarantined, view, salt)
        planned = PlannedSlices(found.scans, salt)
        assign_labels(labels, planned, sources, salt, original=view.original, is_refused=is_refused)


def _refused(quarantined: Sequence[Unused], view: Unpacked, salt: str) -> Callable[[Path | str], bool]:
    """Whether a path or series is of a quarantined scan."""
    paths = {view.original(unused.source).resolve() for unused in quarantined}
    series = {hashed(unused.series, salt) for unused in quarantined if unused.series}

    def is_refused(name: Path | str) -> bool:
        if isinstance(name, str):
            return hashed(name, salt) in series
        return name.exists() and bool(paths & {name, *name.parents})  # entries may stand for all files of a folder

    return is_refused


def _listed_patients(labels: LabelFile | None) -> dict[Path | str, str] | None:
    """The patients in the column of the label file, if it has one."""
    return labels.patients() if labels is not None and labels.has_patients else None


def preview_scans(
    scans: Path,
    *,
    codes: str | None = None,
    table: Path | None = None,
    packed: bool = False,
    resample: bool = False,
    patient_from: str = "id",
    labels: Path | None = None,
    grey: Grey | None = None,
    lung_masks: Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> dict:
    """What `prepare_scans` would read, as JSON values: only headers are read and nothing is written.

    Returns
    -------
    dict
        "codes": the table; "scans": "source", "kind", "patient" (as in the files, not hashed), "slices" and "label" of
        each scan; "quarantined" and "ignored": the other files with the reason. It is private.
    """
    scans = Path(scans)
    check_scans(scans)
    labelled = None if labels is None else read_label_file(labels)
    with unpacked(scans, packed=packed, progress=progress) as view:
        chosen = _checked_codes(view, codes, table)
        progress.note(_which_codes(view.shown(chosen)))
        found = find_scans(
            view.folder,
            table,
            chosen,
            packed=packed,
            resample=resample,
            patient_from=patient_from,
            grey=grey,
            patients=_listed_patients(labelled),
            lung_masks=lung_masks,
            view=view,
            workers=workers,
            progress=progress,
        )
        pairs = [
            {
                "source": str(scan.source),
                "kind": scan.kind,
                "patient": scan.patient,
                "slices": scan.geometry.shape[0],
                "label": joined([label.path for label in scan.labels]),
            }
            for scan in found.scans
        ]
        return view.shown(
            {
                "dry_run": True,
                "codes": chosen,
                "scans": pairs,
                "quarantined": [unused_dict(unused) for unused in found.quarantined],
                "ignored": [unused_dict(unused) for unused in found.ignored],
            }
        )


def _checked_codes(view: Unpacked, codes: str | None, table: Path | None) -> str | None:
    """The code table to use, after it and the table of scans were checked."""
    if table is not None:
        read_table(table, view.folder if view.folder.is_dir() else view.folder.parent)
    chosen = codes if codes is not None else _codes_near(view)
    if chosen is not None:
        Codes.load(chosen)
    return chosen


def _which_codes(chosen: str | None) -> str:
    if chosen is None:
        return (
            "Label maps were not read: no --codes, and no codes.toml in the folder of the scans or up to two above it."
        )
    return f"Label codes: {chosen}"


def _without_kept(found: dict) -> dict:
    """The document without "kept", so that a resumed run writes the same file as an uninterrupted one."""
    return {name: value for name, value in found.items() if name != "kept"}


def _codes_near(view: Unpacked) -> str | None:
    above = view.scans.resolve().parents[:FOLDERS_ABOVE]
    for folder in (view.folder, *above):
        if tables := _files_named(CODES_FILE, folder):
            names = ", ".join(table.name for table in tables)
            check(len(tables) == 1, f"{folder} must contain one table of codes, got {names}: name it with --codes")
            return str(tables[0])
    return None


def _files_named(name: str, folder: Path) -> list[Path]:
    """The files in `folder` with that name in any letter case, sorted."""
    if not folder.is_dir():
        return []
    paths = folder.iterdir() if os.access(folder, os.R_OK) else [folder / name]  # a parent folder may be unlistable
    return sorted(path for path in paths if path.name.lower() == name and path.is_file())


def _patient_provenance(report: PrepareReport, scans: Path) -> list[str]:
    """One line for each rule that assigned patients to volume files, which have no patient identity."""
    base = scans if scans.is_dir() else scans.parent
    notes = []
    for what, of_kind in (("volume files", False), ("images", True)):
        files = [s.source for s in report.prepared if s.kind != "dicom" and (s.kind == IMAGE) == of_kind]
        if of_kind:
            of_folder = sum(file.parent != base for file in files)
        else:
            of_folder = sum(person_of(file.relative_to(base))[1] for file in files)
        rules = ((of_folder, f"the first folder of its path below {base}"), (len(files) - of_folder, "its file name"))
        notes += [f"{what} have no patient identity: for {n} it is {rule}" for n, rule in rules if n]
    if any(note.endswith("file name") and note.startswith("images") for note in notes):
        notes.append("several images of one person must have one patient: add a column patient to --labels")
    return notes


def _labelled_slices(workspace: Workspace, series: set[str]) -> int:
    """The number of slices of these scans with a label, from a label map or from --labels."""
    if not series:
        return 0
    slices = workspace.slices()
    return int(slices.labelled[np.isin(slices.series, sorted(series))].sum())


def _totals(workspace: Workspace) -> dict[str, int]:
    if not Parts(workspace.slices_dir).count:
        return dict.fromkeys(("scans", "patients", "slices", "labelled_slices"), 0)
    slices = workspace.slices()
    return {
        "scans": len(slices.names),
        "patients": len(set(slices.patients.tolist())),
        "slices": len(slices),
        "labelled_slices": int((slices.counts >= 0).any(axis=1).sum()),
    }
