"""What one viewer shows: the cases of the paths it was given, and where corrections are saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ildfv.errors import check
from ildfv.patterns import ABSENT, PATTERNS, PRESENT
from ildfv.pipeline.workspace import SETTINGS, Workspace
from ildfv.progress import SILENT, Progress
from ildfv.version import __version__
from ildfv.viewer.case import Case
from ildfv.viewer.corrections import Corrections, Values
from ildfv.viewer.predictions import answer_folders, read_answer
from ildfv.viewer.scan_cases import scan_cases
from ildfv.viewer.workspace_cases import slice_labels, workspace_cases

CORRECTIONS = "corrections.csv"  # in the workspace, by default
REPORT = "report.html"
VALUES: dict[int, int | None] = {PRESENT: 1, ABSENT: 0}


@dataclass
class Study:
    """The cases of a viewer. report: the page of `ildfv report`, if the workspace has one."""

    title: str
    mode: str  # "workspace" or "scans"
    cases: list[Case]
    notes: list[str] = field(default_factory=list)
    corrections: Corrections | None = None
    report: Path | None = None

    def document(self) -> dict[str, Any]:
        """Everything the page needs before it opens a case."""
        systems = {system.name: None for case in self.cases for system in case.systems}
        return {
            "title": self.title,
            "mode": self.mode,
            "version": __version__,
            "patterns": list(PATTERNS),
            "systems": list(systems),
            "phantom": any(case.phantom for case in self.cases),
            "notes": self.notes,
            "corrections": self.corrections is not None,
            "report": self.report is not None,
            "cases": [case.summary() for case in self.cases],
        }


def open_study(
    paths: Sequence[Path],
    *,
    codes: str | None = None,
    corrections: Path | None = None,
    progress: Progress = SILENT,
) -> Study:
    """The study at `paths`: one workspace, or any number of scans and predictions.

    Parameters
    ----------
    paths : sequence of path
        A folder with workspace.toml; or scans, and folders that `ildfv predict --out` wrote.
    codes : str, optional
        Table of label codes (TOML file or shipped name): label maps of scans are then shown.
    corrections : path, optional
        CSV file of corrections. Default: corrections.csv of a workspace; without one, none are saved.

    Raises
    ------
    InputError
        A path that is none of these, or damaged; a workspace together with other paths.
    """
    workspaces = [path for path in paths if (path / SETTINGS).is_file()]
    if workspaces:
        check(len(paths) == 1, f"a workspace must be viewed alone, got {len(paths)} paths")
        check(codes is None, f"--codes must be given with a scan, got the workspace {paths[0]}")
        return _workspace_study(paths[0], corrections)
    for path in paths:
        check(path.exists(), f"{path} must exist: give a workspace, a scan, or a folder of `ildfv predict --out`")
    folders = {path: answer_folders(path) for path in paths}
    answers = [read_answer(folder) for path in paths for folder in folders[path]]
    others = [path for path in paths if not folders[path]]
    check(codes is None or bool(others), "--codes must be given with a scan, got none")
    cases = scan_cases(others, answers, codes=codes, progress=progress)
    one = cases[0].name if len(cases) == 1 else f"{len(cases)} scans"
    saved = None if corrections is None else Corrections(corrections, cases)
    return Study(title=one, mode="scans", cases=cases, corrections=saved)


def _workspace_study(root: Path, corrections: Path | None) -> Study:
    workspace = Workspace.open(root)
    cases, notes = workspace_cases(workspace)
    report = workspace.root / REPORT
    saved = Corrections(corrections or workspace.root / CORRECTIONS, cases, _stored(workspace, cases))
    return Study(
        title=f"{len(cases)} scans of a workspace",
        mode="workspace",
        cases=cases,
        notes=notes,
        corrections=saved,
        report=report if report.is_file() else None,
    )


def _stored(workspace: Workspace, cases: Sequence[Case]) -> dict[tuple[int, int], Values]:
    """The labels of single slices that the workspace has, by case and slice, of cases that can be corrected."""
    counts = slice_labels(workspace).counts
    return {
        (number, z): [VALUES.get(value) for value in row]
        for number, case in enumerate(cases)
        if case.source is not None
        for z, row in counts.get(case.name, {}).items()
    }
