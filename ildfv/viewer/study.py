"""The content of a viewer: the scans of the given paths, and the file of corrections."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ildfv.counted import counted
from ildfv.errors import check
from ildfv.patterns import ABSENT, PATTERNS, PRESENT
from ildfv.pipeline.location import SETTINGS
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.scans.archives import unpacked
from ildfv.version import __version__
from ildfv.viewer.corrections import Corrections, Values
from ildfv.viewer.file_scans import file_scans
from ildfv.viewer.predictions import answer_folders, read_answer
from ildfv.viewer.scan import ViewedScan

if TYPE_CHECKING:
    from ildfv.viewer.similar_slices import Similar

CORRECTIONS = "corrections.csv"  # in the workspace, by default
REPORT = "report.html"
VALUES: dict[int, int | None] = {PRESENT: 1, ABSENT: 0}


@dataclass
class Study:
    """The scans of a viewer. Temporary folders are removed at the end of its `with` block.

    report: the page of `ildfv report`, or None if the workspace has none.
    """

    title: str
    mode: str  # "workspace" or "scans"
    scans: list[ViewedScan]
    notes: list[str] = field(default_factory=list)
    corrections: Corrections | None = None
    similar: Similar | None = None
    report: Path | None = None
    temporary: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *error: object) -> None:
        self.temporary.close()

    def document(self) -> dict[str, Any]:
        """The data that the page needs before it opens a scan."""
        systems = {system.name: None for scan in self.scans for system in scan.systems}
        return {
            "title": self.title,
            "mode": self.mode,
            "version": __version__,
            "patterns": list(PATTERNS),
            "systems": list(systems),
            "phantom": any(scan.phantom for scan in self.scans),
            "notes": self.notes,
            "corrections": self.corrections is not None,
            "similar": self.similar is not None,
            "report": self.report is not None,
            "scans": [scan.summary() for scan in self.scans],
        }


def open_study(
    paths: Sequence[Path],
    *,
    codes: str | None = None,
    corrections: Path | None = None,
    predictor: Path | None = None,
    progress: Progress = SILENT,
) -> Study:
    """The study at `paths`: one workspace, or any number of scans and predictions.

    Parameters
    ----------
    paths : sequence of path
        A folder with workspace.toml; or scans, zip archives of scans, and folders that `ildfv predict --out` wrote.
    codes : str, optional
        Table of label codes (TOML file or shipped name): label maps of scans are then shown.
    corrections : path, optional
        CSV file of corrections. Default: corrections.csv of a workspace; without a workspace, corrections are not
        saved.
    predictor : path, optional
        A predictor that computes the contribution maps of a workspace.

    Raises
    ------
    InputError
        A path is not a workspace, scan or prediction, or is damaged; a workspace is given together with other paths; or
        an option does not apply to the paths or is invalid.
    """
    workspaces = [path for path in paths if (path / SETTINGS).is_file()]
    if workspaces:
        check(len(paths) == 1, f"a workspace must be given without other paths, got {len(paths)} paths")
        check(codes is None, f"--codes needs a scan, got the workspace {paths[0]}")
        return _workspace_study(paths[0], corrections, predictor)
    rule = "--predictor needs a workspace: for a scan, run `ildfv predict --out` and view the result"
    check(predictor is None, rule)
    for path in paths:
        check(path.exists(), f"{path} must exist: give a workspace, a scan, or a folder that `ildfv predict` wrote")
    with ExitStack() as temporary:
        places = {path: temporary.enter_context(unpacked(path)) for path in paths}
        folders = {path: answer_folders(place) for path, place in places.items()}
        answers = [read_answer(folder) for path in places for folder in folders[path]]
        others = {path: place for path, place in places.items() if not folders[path]}
        check(codes is None or bool(others), "--codes needs a scan, got none")
        scans = file_scans(others, answers, codes=codes, progress=progress)
        title = scans[0].name if len(scans) == 1 else counted(len(scans), "scan")
        saved = None if corrections is None else Corrections(corrections, scans)
        return Study(title=title, mode="scans", scans=scans, corrections=saved, temporary=temporary.pop_all())


def _workspace_study(root: Path, corrections: Path | None, predictor: Path | None) -> Study:
    from ildfv.viewer.workspace_scans import workspace_scans  # imports scikit-learn, 100 MB

    workspace = Workspace.open(root)
    scans, similar, notes = workspace_scans(workspace, predictor)
    report = workspace.root / REPORT
    saved = Corrections(corrections or workspace.root / CORRECTIONS, scans, _stored(workspace, scans))
    return Study(
        title=f"{counted(len(scans), 'scan')} of a workspace",
        mode="workspace",
        scans=scans,
        notes=notes,
        corrections=saved,
        similar=similar,
        report=report if report.is_file() else None,
    )


def _stored(workspace: Workspace, scans: Sequence[ViewedScan]) -> dict[tuple[int, int], Values]:
    """The labels of single slices in the workspace, by scan and slice, for scans that can be corrected."""
    from ildfv.viewer.workspace_scans import slice_labels

    counts = slice_labels(workspace).counts
    return {
        (number, z): [VALUES.get(value) for value in row]
        for number, scan in enumerate(scans)
        if scan.source is not None
        for z, row in counts.get(scan.name, {}).items()
    }
