"""Ridge or logistic regression of the patterns on an encoding's projections, for few slices."""

from __future__ import annotations

from collections.abc import Sequence
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
from ildfv.store.models import load_model, save_model

LINEAR, LOGISTIC = "linear", "logistic"
HEADS = (LINEAR, *KINDS)
JOINED = "+"  # between the layers of a head on several encodings
PRESENCE = "presence"


@dataclass(frozen=True)
class HeadScores:
    """A head fitted on the training slices, and its scores on held-out training patients and on the test slices."""

    head: Head
    held_out: np.ndarray
    test: np.ndarray


def _spread(encoding: Encoding) -> float:
    """The standard deviation of an encoding's projections over the slices that its PCA was fitted on, in total."""
    tensors, _ = load_model(encoding.folder / "pca")
    return float(np.sqrt(tensors["explained_variance"].sum())) or 1.0


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


def fit_on_encodings(
    kind: str, encodings: Sequence[Encoding], slices: Slices, split: Split, *, target: str, threshold: int, seed: int
) -> HeadScores:
    """The head fitted on all training slices; penalties are chosen on held-out training patients.

    Of several encodings, each is scaled to unit variance in total, and their projections are concatenated.
    """
    projections = np.concatenate([one.projections() / _spread(one) for one in encodings], axis=1).astype(np.float64)
    if kind == LOGISTIC:
        y = presence_labels(slices, split.train, threshold)
    else:
        y = regression_targets(target, slices, split.train, threshold)
    head = fit_head(kind, projections[split.train], y, slices.patients[split.train], seed=seed)
    return HeadScores(head, head.held_out, head.predict(projections[split.test]))


def regress_head(
    workspace: Workspace, slices: Slices, split: Split, encodings: Sequence[Encoding], *, kind: str, target: str
) -> Results:
    """The results of a head on the held-out fold, for one encoding or several of one fold and region.

    The model is written to regression-<head>/ of the encoding, or of a folder that is named after several.

    Decision thresholds come from scores on held-out training patients, so that no patient is reserved for them.
    """
    given = {"threshold": workspace.settings.threshold, "seed": workspace.settings.seed}
    found = fit_on_encodings(kind, encodings, slices, split, target=target, **given)
    layer, region = JOINED.join(one.layer for one in encodings), encodings[0].region
    settings = {
        "regress": {
            "layer": layer,
            "region": region,
            "scales": [_spread(one) for one in encodings],
            "head": kind,
            "target": PRESENCE if kind == LOGISTIC else target,
            "penalties": [None if np.isnan(p) else float(p) for p in found.head.penalties],
        },
        "encode": encodings[0].inputs if len(encodings) == 1 else {one.layer: one.inputs for one in encodings},
    }
    home = workspace.encoding_dir(layer, split.fold, region)
    folder = home / f"regression-{kind}"
    with writing(folder):
        sweep(folder)
        save_model(folder, found.head.to_tensors(), {"estimator": "Head", **settings})
    return score(
        workspace,
        slices,
        replace(split, validation=split.train),
        system=f"fv-{home.parent.name}-{kind}",
        validation_scores=found.held_out,
        test_scores=found.test,
        settings=settings,
    )
