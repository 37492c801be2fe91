"""Ridge or logistic regression of the patterns on an encoding's projections, for few slices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.estimators.heads import KINDS, Head, fit_head
from ildfv.evaluation.documents import Results
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.labels import presence_labels, regression_targets
from ildfv.pipeline.score import score
from ildfv.pipeline.split import Split
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import sweep
from ildfv.store.lock import writing
from ildfv.store.models import save_model

LINEAR, LOGISTIC = "linear", "logistic"
HEADS = (LINEAR, *KINDS)
PRESENCE = "presence"


@dataclass(frozen=True)
class HeadScores:
    """A head fitted on the training slices, and its scores on held-out training patients and on the test slices."""

    head: Head
    held_out: np.ndarray
    test: np.ndarray


def check_head(head: str, target: str, ridge: str | float) -> None:
    """InputError if the head is unknown or an option does not apply to it."""
    check(head in HEADS, f'head must be one of {", ".join(HEADS)}, got "{head}"')
    check(
        head == LINEAR or ridge == "auto",
        f'ridge must be auto with head "{head}", which chooses penalties by patient, got {ridge}',
    )
    check(
        head != LOGISTIC or target == "counts",
        f'target must not be given with head "logistic", which is fitted to presence, got "{target}"',
    )


def fit_on_encoding(
    kind: str, encoding: Encoding, slices: Slices, split: Split, *, target: str, threshold: int, seed: int
) -> HeadScores:
    """The head fitted on all training slices; penalties are chosen on held-out training patients."""
    projections = encoding.projections().astype(np.float64)
    if kind == LOGISTIC:
        y = presence_labels(slices, split.train, threshold)
    else:
        y = regression_targets(target, slices, split.train, threshold)
    head = fit_head(kind, projections[split.train], y, slices.patients[split.train], seed=seed)
    return HeadScores(head, head.held_out, head.predict(projections[split.test]))


def regress_head(
    workspace: Workspace, slices: Slices, split: Split, encoding: Encoding, *, kind: str, target: str
) -> Results:
    """The results of a head on the held-out fold; the model is written to regression-<head>/ of the encoding.

    Decision thresholds come from scores on held-out training patients, so that no patient is reserved for them.
    """
    given = {"threshold": workspace.settings.threshold, "seed": workspace.settings.seed}
    found = fit_on_encoding(kind, encoding, slices, split, target=target, **given)
    settings = {
        "regress": {
            "layer": encoding.layer,
            "region": encoding.region,
            "head": kind,
            "target": PRESENCE if kind == LOGISTIC else target,
            "penalties": [None if np.isnan(p) else float(p) for p in found.head.penalties],
        },
        "encode": encoding.info["inputs"],
    }
    folder = encoding.folder / f"regression-{kind}"
    with writing(folder):
        sweep(folder)
        save_model(folder, found.head.to_tensors(), {"estimator": "Head", **settings})
    return score(
        workspace,
        slices,
        replace(split, validation=split.train),
        system=f"fv-{encoding.folder.parent.name}-{kind}",
        validation_scores=found.held_out,
        test_scores=found.test,
        settings=settings,
    )
