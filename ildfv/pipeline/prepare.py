"""Scans into a workspace: made if need be, then filled by `ildfv.datasets.prepare`."""

from __future__ import annotations

from pathlib import Path

from ildfv.datasets.discovery import check_scans
from ildfv.datasets.prepare import prepare
from ildfv.datasets.prepared import PrepareReport
from ildfv.errors import InputError
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.scans.labels import Codes
from ildfv.store.atomic import write_json
from ildfv.store.parts import Parts
from ildfv.version import __version__

CODES_FILE = "codes.toml"  # with the scans: what their label codes mean, used unless other codes are named
ABOVE = 2  # folders above the scans in which it may lie


def prepare_scans(
    scans: Path,
    root: Path,
    *,
    codes: str | None = None,
    threshold: int | None = None,
    seed: int | None = None,
    salt: str | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> dict:
    """{"scans", "kept", "patients", "slices", "labelled_slices", "codes", "notes", "workspace", …} of this run.

    "kept" of its "scans" were prepared before; "workspace" counts all that is there now: {"scans", "patients",
    "slices", "labelled_slices"}; "prepared", "quarantined" and "ignored" tell what became of each file.

    codes: a TOML file or a shipped table's name; None takes `codes.toml` in the folder of scans or up to two folders
    above (`prepare scans/patient-0001` reads as `prepare scans` does), and without it leaves label maps unread. Codes
    and scans are looked at before a workspace is made. threshold, seed, salt: settings of a new workspace; one that is
    there must have the same.
    """
    scans = Path(scans)
    check_scans(scans)
    chosen = codes if codes is not None else _codes_near(scans)
    if chosen is not None:
        Codes.load(chosen)
    given = {"threshold": threshold, "seed": seed, "salt": salt}
    workspace = Workspace.open_or_create(root, version=__version__, **given)
    if workspace.settings.slices is not None:
        raise InputError(f"{root} reads its slices from {workspace.settings.slices}: prepare into another workspace")
    report = prepare(
        scans, workspace.slices_dir, codes=chosen, salt=workspace.settings.salt, workers=workers, progress=progress
    )
    content = report.to_dict()
    labelled = sum(scan.slices for scan in report.prepared if scan.labelled)
    if chosen is None:
        progress.note(
            "Label maps were not read: no --codes given, no codes.toml with the scans or up to two folders above."
        )
    summary = {
        "scans": len(report.prepared),
        "kept": sum(scan.kept for scan in report.prepared),
        "patients": len({scan.patient for scan in report.prepared}),
        "slices": report.slices,
        "labelled_slices": labelled,
        "removed_scans": len(report.removed),
        "removed_slices": sum(one.slices for one in report.removed),
        "codes": chosen,
        "notes": _how_patients_were_told(report, scans),
        "workspace": _holdings(workspace),
    }
    lasting = {**summary, **content, "prepared": [_without_kept(scan) for scan in content["prepared"]]}
    # Paths may name patients: not among the results.
    write_json(workspace.root / "prepare.json", _without_kept(lasting), private=True)
    return {**summary, **content}


def _without_kept(found: dict) -> dict:
    """All but what an earlier run had left to do: the file is the same however often a run was stopped."""
    return {name: value for name, value in found.items() if name != "kept"}


def _codes_near(scans: Path) -> str | None:
    above = scans.resolve().parents[:ABOVE]
    return next((str(path) for folder in (scans, *above) if (path := folder / CODES_FILE).is_file()), None)


def _how_patients_were_told(report: PrepareReport, scans: Path) -> list[str]:
    """A line for each way in which volume files, which name no patient, were given one."""
    files = [scan.source for scan in report.prepared if scan.kind != "dicom"]
    base = scans if scans.is_dir() else scans.parent
    loose = sum(file.parent == base for file in files)
    ways = ((len(files) - loose, f"the folder directly inside {base} that each lies in"), (loose, "its own file name"))
    return [f"volume files name no patient: for {number} it was {way}" for number, way in ways if number]


def _holdings(workspace: Workspace) -> dict[str, int]:
    if not Parts(workspace.slices_dir).count:
        return dict.fromkeys(("scans", "patients", "slices", "labelled_slices"), 0)
    slices = workspace.slices()
    return {
        "scans": len(slices.names),
        "patients": len(set(slices.patients.tolist())),
        "slices": len(slices),
        "labelled_slices": int(slices.labelled.sum()),
    }
