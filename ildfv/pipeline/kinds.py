"""The kinds of files in a workspace: the pipeline's results, and those that packages above register.

Imports run from the top layer to the bottom one, so packages above the pipeline are imported here by name.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ildfv.errors import check
from ildfv.evaluation.documents import RESULTS, Results
from ildfv.patterns import PATTERNS
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.workspace import Workspace
from ildfv.store.kinds import DocumentKind, FileKind, register

MODULES = ("ildfv.experiments.kinds",)  # each calls `register`; add a package's module here


def load_kinds() -> None:
    """Registers all kinds of files that a workspace can hold."""
    register(RESULT_DOCUMENTS, REGION_MASKS)
    for module in MODULES:
        import_module(module)


def _check_scores(root: Path, path: Path, results: Results) -> None:
    """InputError unless the CSV file of scores has the number of slices and patterns that the results state."""
    workspace = Workspace.open(root)
    _, scores = read_scores(workspace, path.stem, results.scores_sha256)
    expected = (results.n_slices, len(PATTERNS))
    check(
        scores.shape == expected,
        f"{path.with_suffix('.csv')} must hold {expected[0]} slices of {expected[1]} scores, got shape {scores.shape}",
    )


REGION_MASKS = FileKind(
    name="ildfv region masks",
    pattern="regions/*/*",
    remedy=lambda root, path: (
        f"remove the folder {path.parent} and run the `ildfv encode --region` that needs it again"
    ),
)
RESULT_DOCUMENTS = DocumentKind(
    name=RESULTS,
    pattern="results/*.json",
    load=Results.from_dict,
    check=_check_scores,
    remedy=lambda root, path: f"remove {path} and run the `ildfv regress` or `ildfv train` that wrote it again",
)
