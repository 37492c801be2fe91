"""Converts scans to the slices of a workspace, which is created if it does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ildfv.datasets.image_files import IMAGE
from ildfv.datasets.input import check_sources
from ildfv.datasets.naming import person_of
from ildfv.datasets.prepare import prepare
from ildfv.datasets.records import Discovery
from ildfv.datasets.report import PrepareReport
from ildfv.datasets.search import check_scans
from ildfv.datasets.set_layouts import NOTES
from ildfv.datasets.slice_store import Slices
from ildfv.datasets.unpacked import unpacked
from ildfv.errors import InputError, check
from ildfv.patterns import Threshold, parse_threshold
from ildfv.pipeline.code_table import codes_note
from ildfv.pipeline.location import SETTINGS
from ildfv.pipeline.prepare_labels import (
    check_no_scan_labels,
    check_rows,
    column_notes,
    listed_patients,
    read_labels,
    store_labels,
)
from ildfv.pipeline.scan_settings import scan_settings
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.scans.grey import Grey
from ildfv.scans.preparation import Preparation
from ildfv.scans.prepared_lungs import LUNGMASK, RULE, check_lungmask
from ildfv.store.atomic import write_json
from ildfv.store.parts import Parts
from ildfv.version import __version__


def prepare_scans(
    scans: Path,
    root: Path,
    *,
    codes: str | None = None,
    table: Path | None = None,
    packed: bool = False,
    unlabelled_is_negative: bool = False,
    resample: bool = False,
    threshold: Threshold | None = None,
    seed: int | None = None,
    salt: str | None = None,
    patient_from: str = "id",
    workers: int | None = None,
    labels: Path | None = None,
    ignored_columns: Sequence[str] = (),
    grey: Grey | None = None,
    lung_masks: Path | None = None,
    hu: bool = False,
    normalise: str | None = None,
    pixel_size: float | None = None,
    noise_level: float | None = None,
    lungs: str | None = None,
    layout: str | None = None,
    progress: Progress = SILENT,
) -> dict:
    """Stores the slices of all usable scans in the workspace, and returns the report of this run as JSON values.

    Parameters
    ----------
    scans : path
        A folder, which is searched with all its subfolders, or one file.
    root : path
        The workspace. It is created after the options, the code table and the label file have been checked.
    codes : str, optional
        A TOML file, or the name of a code table of ildfv. The default is `codes.toml` in the folder of the scans or up
        to two folders above it, so that `prepare scans/patient-0001` has the same labels as `prepare scans`. Without a
        code table, label maps are not read.
    table : path, optional
        CSV table of scans, label maps and patients (`datasets.table`): only listed files are used.
    packed : bool
        Whether to also read zip archives, and DICOM files that are compressed with gzip or lack the preamble.
    unlabelled_is_negative : bool
        Whether slices with lung but without a labelled voxel, in scans with a label map, count as slices without
        patterns. By default they are unlabelled.
    resample : bool
        Whether to resample scans that are tilted up to 30° or unevenly spaced (`scans.resample`). By default they are
        refused.
    threshold, seed, salt : optional
        Settings of a new workspace. If they are given for an existing workspace, they must equal its settings.
        threshold: T in pixels, or in percent of the lung pixels of each slice, such as "5%".
    patient_from : {"id", "folder", "study"}
        Identity of the patient of a DICOM series (see `datasets.settings.ScanSettings`).
    workers : int, optional
        Number of processes; one per core by default.
    labels : path, optional
        CSV file of labels of slices or scans (`datasets.label_file`). The workspace stores the labels, and a later file
        replaces them. A column `patient` of the file replaces `patient_from`.
    ignored_columns : sequence of str
        Columns of the label file that are not used although they resemble a used column (`datasets.label_columns`).
    grey : Grey, optional
        The HU of the smallest and the largest grey level of images (PNG, JPEG, TIFF). Only images are then read.
    lung_masks : path, optional
        Folder of the user's lung masks (`datasets.lung_masks`).
    hu : bool
        Whether to also store the slices in HU (`scans.hounsfield`), for the layers filters and patches.
    normalise, pixel_size, noise_level : optional
        Options that make scans of different scanners comparable (`scans.preparation`). They are settings of a new
        workspace.
    lungs : {"rule", "lungmask"}, optional
        Method that finds the lung. It is a setting of a new workspace.
    layout : str, optional
        A published data set whose folders determine scans, label maps and patients (`datasets.set_layouts`).

    Returns
    -------
    dict
        "scans", "kept" (scans that an earlier run prepared), "patients", "slices" and "labelled_slices": numbers of
        this run. With labels of scans, "labelled_scans" replaces "labelled_slices". "workspace": the same numbers for
        the whole workspace. "removed_scans" and "removed_slices": numbers of scans and slices of earlier runs that
        were removed. "codes": the code table. "unlabelled_is_negative": the option. "notes": sentences. "prepared",
        "quarantined" and "ignored": the outcome for each file.

    Raises
    ------
    InputError
        An option, table or label file is invalid, or the settings are not those of the existing workspace. A scan that
        fails a check raises no error but is listed under "quarantined".
    """
    scans = Path(scans)
    check_scans(scans)
    # The options are checked before anything is written.
    preparation = Preparation(normalise, pixel_size, noise_level, lungs or RULE)
    threshold = None if threshold is None else parse_threshold(threshold)
    if preparation.lungs == LUNGMASK:
        check_lungmask()  # once, not in every worker
    if lungs == RULE and (Path(root) / SETTINGS).exists():
        used = Workspace.open(root).settings.preparation.lungs
        check(used == RULE, f"lungs must be {used} as in {Path(root) / SETTINGS}, got {lungs}: use another workspace")
    labelled = read_labels(labels, ignored_columns, scans)
    patients = listed_patients(labelled)
    with unpacked(scans, packed=packed, progress=progress) as view:
        chosen, settings = scan_settings(
            view,
            codes=codes,
            table=table,
            patients=patients,
            pixel_counts=labelled is not None and labelled.has_counts,
            packed=packed,
            unlabelled_is_negative=unlabelled_is_negative,
            resample=resample,
            patient_from=patient_from,
            grey=grey,
            lung_masks=lung_masks,
            hu=hu,
            layout=layout,
        )
        check_sources(replace(settings, preparation=preparation))
        given: dict[str, Any] = {"threshold": threshold, "seed": seed, "salt": salt, "normalise": normalise}
        given |= {"pixel_size": pixel_size, "noise_level": noise_level}
        given["lungs"] = None if lungs == RULE else lungs  # the default is stored as None
        workspace = Workspace.open_or_plan(root, version=__version__, **given)
        if workspace.settings.slices is not None:
            raise InputError(
                f"{root} reads its slices from {workspace.settings.slices}: prepare into another workspace"
            )
        settings = replace(settings, preparation=workspace.settings.preparation)
        if settings.preparation.lungs == LUNGMASK:
            check_lungmask()

        def check_found(found: Discovery) -> None:
            if labelled is None:
                check_no_scan_labels(workspace, settings, found)
            else:
                check_rows(labelled, workspace.settings.salt, view, settings, found)
            workspace.save()  # after the checks, so that an invalid label file leaves no workspace

        report = prepare(
            view.folder,
            workspace.slices_dir,
            settings,
            salt=workspace.settings.salt,
            view=view,
            check_found=check_found,
            workers=workers,
            progress=progress,
        )
        if layout is not None:
            notes = list(NOTES[layout])
        else:
            notes = [] if patients is not None else _patient_provenance(report, view.folder)
        notes += column_notes(table, labelled)
        if labelled is not None:
            notes += store_labels(workspace, labelled, report, view, progress)
        run = {scan.series for scan in report.prepared}
        chosen, content = view.shown(chosen), view.shown(report.to_dict())
        notes = view.shown(notes)
    if labelled is None or chosen is not None:  # slice labels need no code table
        progress.note(codes_note(chosen))
    slices = workspace.slices() if Parts(workspace.slices_dir).count else None
    summary = {
        "scans": len(report.prepared),
        "kept": sum(scan.kept for scan in report.prepared),
        "patients": len({scan.patient for scan in report.prepared}),
        "slices": report.slices,
        **_labelled(slices, run),
        "removed_scans": len(report.removed),
        "removed_slices": sum(one.slices for one in report.removed),
        "codes": chosen,
        "unlabelled_is_negative": unlabelled_is_negative,
        "notes": notes,
        "workspace": _totals(slices),
    }
    document = {**summary, **content, "prepared": [_without_kept(scan) for scan in content["prepared"]]}
    # Not in `results`, because paths may identify patients.
    write_json(workspace.root / "prepare.json", _without_kept(document), private=True)
    return {**summary, **content}


def _without_kept(found: dict) -> dict:
    """The document without "kept", so that a resumed run writes the same file as an uninterrupted run."""
    return {name: value for name, value in found.items() if name != "kept"}


def _patient_provenance(report: PrepareReport, scans: Path) -> list[str]:
    """One note for each rule that determined the patients of volume files and images, which contain no identity."""
    base = scans if scans.is_dir() else scans.parent
    notes = []
    for what, of_kind in (("volume files", False), ("images", True)):
        files = [s.source for s in report.prepared if s.kind != "dicom" and (s.kind == IMAGE) == of_kind]
        if of_kind:
            of_folder = sum(file.parent != base for file in files)
        else:
            of_folder = sum(person_of(file.relative_to(base))[1] for file in files)
        rules = ((of_folder, f"the first folder of the path below {base}"), (len(files) - of_folder, "the file name"))
        notes += [f"{what} have no patient identity: for {n} of them, the patient is {rule}" for n, rule in rules if n]
    if any(note.endswith("file name") and note.startswith("images") for note in notes):
        notes.append("images of the same person must have the same patient: add a column patient to --labels")
    return notes


def _labelled(slices: Slices | None, series: set[str] | None = None) -> dict[str, int]:
    """The number of labelled slices of these scans, or of all scans, from label maps or from --labels.

    It is {"labelled_slices": n}, or {"labelled_scans": n} if scans are labelled as a whole.
    """
    if slices is None:
        return {"labelled_slices": 0}
    if slices.scan_labels is not None:
        known = np.asarray((slices.scan_labels >= 0).any(axis=1))
        return {"labelled_scans": int(known[_among(np.array(slices.names), series)].sum())}
    return {"labelled_slices": int(slices.labelled[_among(slices.series, series)].sum())}


def _among(names: np.ndarray, chosen: set[str] | None) -> np.ndarray:
    """Whether each name is among `chosen`, as a mask of the shape of `names`; all True if `chosen` is None."""
    return np.ones(len(names), bool) if chosen is None else np.asarray(np.isin(names, sorted(chosen)))


def _totals(slices: Slices | None) -> dict[str, int]:
    if slices is None:
        return dict.fromkeys(("scans", "patients", "slices", "labelled_slices"), 0)
    return {
        "scans": len(slices.names),
        "patients": len(set(slices.patients.tolist())),
        "slices": len(slices),
        **_labelled(slices),
    }
