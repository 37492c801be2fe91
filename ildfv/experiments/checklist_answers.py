"""Answers for the reporting checklists, generated from a workspace and its experiments."""

from __future__ import annotations

import numpy as np

from ildfv.experiments.context import Context
from ildfv.experiments.results import predictions
from ildfv.experiments.scoring import is_scored
from ildfv.patterns import PATTERNS
from ildfv.pipeline.split import labelled_presence
from ildfv.version import versions

TRAINING = (
    "loss",
    "epochs",
    "batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "dropout",
    "augment",
    "select",
)
FIXED = {
    "preparation": "HU by the rescale parameters of the file; three windows (−1400…−950, −1400…200, −160…240 HU) "
    "as channels, averaged to 224×224, uint8; scans that violate a rule are excluded, with the reason",
    "eligibility": "scans that ildfv prepare accepts as CT volumes; slices with a label map",
    "subsets": "every labelled slice of every prepared scan is included; there is no manual selection",
    "identities": "patients and scans are identified by salted hashes only",
    "predictors": "the pixels of one whole slice; no regions of interest and no clinical variables",
    "assessors": "none: no predictor requires a human reader",
    "handling": "grey levels standardised per window with mean and SD of the fit slices; encodings reduced by PCA "
    "fitted on the fit slices",
    "robustness": "results for two thresholds T and for several losses, targets, layers, encoders and numbers of "
    "patients",
    "explainability": "label maps of the patch baseline; exact contribution maps of Fisher vectors, compared with label "
    "maps in the experiment localisation",
    "clusters": "patients are the clusters: intervals and tests resample or swap whole patients; centres are not "
    "distinguished",
    "updating": "none: models are not changed after testing",
    "calculation": "by ildfv.train.trainer.predict, and FisherVector, PCA and MultivariateRegression of ildfv",
    "imbalance": "no resampling; losses are unweighted except those called balanced, with weights β computed from the "
    "fit slices; probabilities are calibrated on validation slices in both cases",
    "performance": "the tables of these experiments: pooled over held-out folds, 95 % intervals, mean ± SD over folds",
    "differences": "none intended: both are folds of one workspace, split by patient and stratified by pattern",
    "external": "the experiment transfer, if a second workspace was given; all other results are of one workspace",
    "failures": "examples of correct and incorrect slices, drawn at random by a fixed rule and seed (experiment "
    "examples)",
    "code": "this package, MIT licence; encodings, scores and retained networks are stored in experiments/ of the "
    "workspace",
}


def answers(context: Context) -> dict[str, str]:
    """The answer to each key of `checklist.ITEMS`, one or two sentences."""
    slices, folds, preset, base = context.slices, context.folds, context.preset, context.base
    labelled = slices.labelled
    phantom = slices.data == "phantom"
    return FIXED | {
        "source": ("generated phantoms, not patients" if phantom else "the user's own scans")
        + "; the paper's LTRC data are not used",
        "flow": f"{_number(slices.patients)} patients, {_number(slices.series)} scans, {len(slices)} slices prepared; "
        f"{_number(slices.patients[labelled])} patients and {int(labelled.sum())} slices with labels are included; "
        "excluded scans are listed in prepare.json",
        "missing": f"{int((~labelled).sum())} slices without labels are neither used for training nor tested"
        if not labelled.all()
        else "none: every slice has labels",
        "outcome": "a pattern is present on a slice if its label map has at least T pixels on the original grid; "
        f"T = {base.threshold} unless a table says otherwise"
        + ("; label maps are those of the phantom generator" if phantom else ""),
        "partitions": f"{folds.n_folds} folds of whole patients, stratified by pattern, seed {folds.seed}; held out in "
        f"turn: {', '.join(map(str, context.held_out()))}. One fifth of the remaining patients form the "
        "validation split",
        "counts": _counts(context),
        "model": f"{preset.network} with random initial weights, seed {base.settings.seed}; its layers encoded by "
        f"a mixture of {preset.components} or another encoder, PCA to at most {preset.dimensions}, linear "
        "regression of counts",
        "training": ", ".join(f"{name.replace('_', ' ')} {getattr(base.settings, name)}" for name in TRAINING)
        + "; ridge penalty of the regression chosen by mean AUC on validation slices; no ensembles",
        "software": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "measures": "accuracy, precision, recall and F over label sets (slices with no pattern, neither present nor "
        "predicted, are excluded), micro and macro F; per pattern F, AUC, average precision, Brier score, "
        f"calibration curve; 95 % intervals by resampling patients {preset.resamples} times; paired permutation "
        "tests by patient, not "
        "corrected for multiple testing",
        "thresholds": "scores; a pattern is predicted if its score reaches the threshold with the largest F on "
        "validation slices; " + _thresholds(context),
    }


def _thresholds(context: Context) -> str:
    """Decision thresholds of the CNN if it has been scored; nothing is trained for a checklist."""
    if not is_scored(context, context.base):
        return "listed in the result documents"
    return "of the CNN, " + "; ".join(
        f"without fold {one.fold}: "
        + ", ".join(
            f"{pattern} {'–' if t is None else f'{t:.3g}'.replace('-', '−')}"
            for pattern, t in zip(PATTERNS, one.decisions.thresholds, strict=True)
        )
        for one in predictions(context, context.base)
    )


def _counts(context: Context) -> str:
    """Numbers of patients, slices and slices with each pattern, for each role of each held-out fold."""
    texts = []
    for split in map(context.split, context.held_out()):
        parts = []
        for name in ("fit", "validation", "test"):
            indices = getattr(split, name)
            shown = (labelled_presence(context.slices, indices, context.base.threshold) > 0).sum(axis=0)
            events = ", ".join(f"{pattern} {n}" for pattern, n in zip(PATTERNS, shown, strict=True))
            parts.append(
                f"{name} {_number(context.slices.patients[indices])} patients, {len(indices)} slices ({events})"
            )
        texts.append(f"fold {split.fold} held out: " + "; ".join(parts))
    return ". ".join(texts)


def _number(names: np.ndarray) -> int:
    return len(set(map(str, names)))
