"""The kinds of files in a workspace: those of the pipeline, and those that packages above the pipeline register.

A module may only import packages of lower layers. The modules in `MODULES` are of higher layers, so they are imported
at run time.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ildfv.counted import counted
from ildfv.errors import InputError, check
from ildfv.evaluation.documents import RESULTS, Results
from ildfv.evaluation.folds import Folds
from ildfv.patterns import PATTERNS
from ildfv.pipeline.encodings import FINISHED
from ildfv.pipeline.order import FILE as ORDER
from ildfv.pipeline.order import recorded
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.split import split_slices
from ildfv.pipeline.workspace import Workspace, check_result_name
from ildfv.store.atomic import key_of, sha256
from ildfv.store.checksummed import read_checksummed
from ildfv.store.kinds import DocumentKind, FileKind, register
from ildfv.store.models import TENSORS, load_info, verify_model

MODULES = ("ildfv.experiments.kinds",)  # modules of higher layers that call `register` when they are imported


def load_kinds() -> None:
    """Registers all kinds of files that a workspace can hold."""
    register(RESULT_DOCUMENTS, NETWORKS, FINISHED_ORDER, REGION_MASKS, LABELS)
    for module in MODULES:
        import_module(module)


def _check_results(root: Path, path: Path, results: Results) -> None:
    """Raises InputError unless results and file name agree and the CSV file has the stated number of scores."""
    check_result_name(path, results)
    workspace = Workspace.open(root)
    _, scores = read_scores(workspace, path.stem, results.scores_sha256)
    expected = (results.n_slices, len(PATTERNS))
    check(
        scores.shape == expected,
        f"{path.with_suffix('.csv')} must contain {counted(expected[0], results.unit)} with {expected[1]} scores each, "
        f"got {scores.shape[0]} with {scores.shape[1]}",
    )


def _check_labels(root: Path, path: Path) -> None:
    """Raises InputError unless the stored labels have their checksum and belong to the prepared slices."""
    read_checksummed(path)
    workspace = Workspace.open(root)
    try:
        workspace.stored_slices()
    except InputError:  # missing or unreadable slices are reported by their own check
        return
    workspace.slices()


LABELS = FileKind(
    name="labels of slices or scans",
    pattern="*-labels.json",
    check=_check_labels,
    remedy=lambda root, path: "run `ildfv prepare --labels` with the file of labels again",
)
REGION_MASKS = FileKind(
    name="ildfv region masks",
    pattern="regions/*/*",
    remedy=lambda root, path: (
        f"remove the folder {path.parent} and repeat the `ildfv encode --region` command that wrote it"
    ),
)


def _check_network(root: Path, path: Path) -> None:
    """Raises InputError if the network in models/<name>/fold-<k>/ is a copy of the network of another fold."""
    trained, held_out = load_info(path.parent).get("identity"), path.parent.name
    if trained is None:  # a network that was trained elsewhere has no record of its training data
        return
    workspace = Workspace.open(root)
    try:
        slices, folds = workspace.slices(), Folds.load(workspace.folds_file, PATTERNS)
    except (InputError, OSError, KeyError):  # corrupt or missing slices and folds are reported by their own check
        return
    for fold in range(folds.n_folds):
        fit = key_of(split_slices(slices, folds, fold).fit.tolist())
        other = held_out != f"fold-{fold}" and (trained["slices"], trained["fit"]) == (slices.key, fit)
        rule = f"{path} must be the network trained without {held_out}"
        check(not other, f"{rule}, got a copy of the network of fold-{fold}")


def _check_order(root: Path, path: Path) -> None:
    """Raises InputError unless the recorded order is valid and its checksums match the existing files."""
    for folder, (digest, _) in recorded(Workspace.open(root)).items():
        for name in (TENSORS, FINISHED):
            file = root / folder / name
            if file.exists() and sha256(file) != digest and not _is_corrupt(file):
                raise InputError(f"{path} must have the checksums of the existing files, got another for {file}")


def _is_corrupt(file: Path) -> bool:
    """Whether the last file of a model or an encoding is corrupt. If so, its own check reports it."""
    if file.name == TENSORS:
        return bool(verify_model(file.parent))
    try:
        read_checksummed(file)
    except (InputError, OSError):
        return True
    return False


NETWORKS = FileKind(
    name="networks",
    pattern=f"models/*/fold-*/{TENSORS}",
    check=_check_network,
    remedy=lambda root, path: f"remove the folder {path.parent} and run `ildfv train` again",
)
FINISHED_ORDER = FileKind(
    name="order of finished models and encodings",
    pattern=ORDER,
    check=_check_order,
    remedy=lambda root, path: (
        "repeat `ildfv train` and `ildfv encode` with the same options: finished models and encodings are kept and "
        "recorded"
    ),
)
RESULT_DOCUMENTS = DocumentKind(
    name=RESULTS,
    pattern="results/*.json",
    load=Results.from_dict,
    check=_check_results,
    remedy=lambda root, path: f"remove {path} and repeat the `ildfv regress` or `ildfv train` command that wrote it",
)
