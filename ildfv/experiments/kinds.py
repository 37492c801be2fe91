"""The kinds of files that experiments write to a workspace, registered for `ildfv verify` and `ildfv report`."""

from __future__ import annotations

from pathlib import Path

from ildfv.errors import check
from ildfv.experiments.documents import CHECKLIST, EXPERIMENT, ChecklistDocument, ExperimentDocument
from ildfv.store.atomic import check_gzip, key_of
from ildfv.store.kinds import DocumentKind, FileKind, register
from ildfv.store.models import has_model, load_info


def _remedy(root: Path, path: Path) -> str:
    return f"remove {path} and run `ildfv experiment` again"


def _folder_remedy(root: Path, path: Path) -> str:
    """The remedy for a file in experiments/<key>/<purpose>/<system>/fold-<k>/: the whole folder is computed again."""
    folder = root.joinpath(*path.relative_to(root).parts[:5])
    return f"remove {folder} and run `ildfv experiment` again"


def _check_scores(root: Path, path: Path) -> None:
    """Raises InputError if experiments/<key>/scores/<system>/fold-<k>/ has the scores of another system or fold."""
    info = load_info(path.parent)
    found = f"{key_of(info['inputs'])[:8]}/fold-{info['fold']}"
    folder = "/".join(path.parts[-3:-1])
    check(folder.endswith(found), f"{path} must contain the scores of {folder}, got the scores of …{found}")


def _removed_weights(root: Path, folder: Path) -> bool:
    """Whether the weights may be missing: they are removed to save space once the scores are stored."""
    place = folder.relative_to(root).parts  # experiments/<key>/models/<system>/fold-<k>
    scored = len(place) == 5 and place[2] == "models"
    return scored and has_model(root.joinpath(*place[:2], "scores", *place[3:]))


register(
    DocumentKind(
        name=EXPERIMENT,
        pattern="results/experiments/*.json",
        load=ExperimentDocument.from_dict,
        remedy=_remedy,
        in_report=True,
    ),
    DocumentKind(
        name=CHECKLIST,
        pattern="results/experiments/checklist.json",
        load=ChecklistDocument.from_dict,
        remedy=_remedy,
    ),
    FileKind(
        name="label maps of experiments",
        pattern="experiments/*/label-maps/**/*.nii.gz",
        check=lambda root, path: check_gzip(path),
        remedy=_folder_remedy,
    ),
    FileKind(
        name="scores of experiments",
        pattern="experiments/*/scores/*/fold-*/model.safetensors",
        check=_check_scores,
        remedy=_folder_remedy,
    ),
    FileKind(
        name="other files of experiments",
        pattern="experiments/**",
        remedy=_folder_remedy,
        may_lack=_removed_weights,
    ),
)
