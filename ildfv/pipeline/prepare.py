"""Scans into a workspace: made if need be, then filled by `ildfv.scans.prepare`."""

from __future__ import annotations

from pathlib import Path

from ildfv.errors import InputError
from ildfv.progress import SILENT, Progress
from ildfv.scans.prepare import prepare
from ildfv.store.atomic import write_json
from ildfv.store.workspace import Workspace
from ildfv.version import __version__

CODES_FILE = "codes.toml"  # beside the scans: what their label codes mean, used unless other codes are named


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
    """{"scans", "patients", "slices", "labelled_slices", "codes", "prepared", "quarantined", "ignored"} of this run.

    codes: a TOML file or a shipped table's name; None takes `codes.toml` beside the scans, and without it leaves label
    maps unread. threshold, seed, salt: settings of a new workspace; one that is there must have the same.
    """
    scans = Path(scans)
    if not scans.exists():
        raise InputError(f"scans must be a folder or a file, got {scans}, which does not exist")
    beside = scans / CODES_FILE
    chosen = codes if codes is not None else str(beside) if beside.is_file() else None
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
        progress.note("Label maps were not read: no --codes given, and no codes.toml beside the scans.")
    summary = {
        "scans": len(report.prepared),
        "patients": len({scan.patient for scan in report.prepared}),
        "slices": report.slices,
        "labelled_slices": labelled,
        "codes": chosen,
    }
    write_json(
        workspace.root / "prepare.json", {**summary, **content}
    )  # paths may name patients: not among the results
    return {**summary, **content}
