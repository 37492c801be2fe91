"""Answers for the reporting checklists, generated from a workspace and its experiments."""

from __future__ import annotations

import numpy as np

from ildfv.experiments.context import Context
from ildfv.experiments.results import predictions
from ildfv.experiments.scoring import is_scored
from ildfv.experiments.tables import NEITHER
from ildfv.patterns import PATTERNS
from ildfv.pipeline.split import labelled_presence
from ildfv.report.cells import counted
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
    "preparation": "HU are computed with the rescale parameters of the file; three windows (−1400…−950, −1400…200, "
    "−160…240 HU) are the channels; slices are resampled to 224×224 by averaging and stored as uint8; scans that "
    "violate a rule are excluded, and the reason is listed",
    "eligibility": "scans that ildfv prepare accepts as CT volumes; slices with a label map",
    "subsets": "every labelled slice of every prepared scan is included; there is no manual selection",
    "identities": "patients and scans are identified only by salted hashes",
    "predictors": "the pixels of one whole slice; no regions of interest and no clinical variables",
    "assessors": "none: no predictor requires a human reader",
    "handling": "grey levels are standardised per window with the mean and SD of the fit slices; encodings are reduced "
    "by a PCA that is fitted on the fit slices",
    "robustness": "results for two thresholds T and for several losses, targets, layers, encoders and numbers of "
    "patients",
    "explainability": "label maps of the patch baseline; exact contribution maps of Fisher vectors, compared with "
    "label maps in the experiment “localisation”",
    "clusters": "patients are the clusters: confidence intervals resample whole patients, and permutation tests swap "
    "whole patients; centres are not distinguished",
    "updating": "none: models are not changed after testing",
    "calculation": "by ildfv.train.trainer.predict for networks; by FisherVector, PCA and MultivariateRegression of "
    "ildfv for encodings",
    "imbalance": "slices are not resampled; losses are not weighted, except the losses named balanced, whose weights β "
    "are computed from the fit slices; probabilities are calibrated on validation slices in both cases",
    "performance": "see the tables of these experiments: values pooled over held-out folds, 95 % intervals, and mean ± "
    "SD over folds",
    "differences": "none intended: both are folds of one workspace, split by patient and stratified by pattern",
    "external": "see the experiment “transfer” if a second workspace was given; other results are from one workspace",
    "failures": "see the experiment “examples”: correctly and incorrectly predicted slices, drawn at random with a "
    "fixed rule and seed",
    "code": "this package, MIT licence; encodings, scores and the retained networks are stored in the folder "
    "experiments of the workspace",
}


def answers(context: Context) -> dict[str, str]:
    """The answer for each key of `checklist.ITEMS`, as text."""
    slices, folds, preset, base = context.slices, context.folds, context.preset, context.base
    labelled = slices.labelled
    phantom = slices.data == "phantom"
    return FIXED | {
        "source": ("generated phantoms, not patients" if phantom else "the user's own scans")
        + "; the paper's LTRC data are not used",
        "flow": f"prepared: {counted(_number(slices.patients), 'patient')}, {counted(_number(slices.series), 'scan')}, "
        f"{counted(len(slices), 'slice')}; included, because they have labels: "
        f"{counted(_number(slices.patients[labelled]), 'patient')}, {counted(int(labelled.sum()), 'slice')}; excluded "
        "scans are listed in prepare.json",
        "missing": f"slices without labels ({int((~labelled).sum())}) are used neither for training nor for testing"
        if not labelled.all()
        else "none: every slice has labels",
        "outcome": "a pattern is present on a slice if it covers at least T pixels of the label map on the scan's own "
        f"grid; T = {base.threshold} unless a table states another T"
        + ("; the label maps are from the phantom generator" if phantom else ""),
        "partitions": f"{folds.n_folds} folds of whole patients, stratified by pattern, seed {folds.seed}; folds held "
        f"out, one at a time: {', '.join(map(str, context.held_out()))}. About one fifth of the remaining patients "
        "are validation patients",
        "counts": _counts(context),
        "model": f"{preset.network} with random initial weights, seed {base.settings.seed}; its layers are encoded by "
        f"Fisher vectors of a mixture with {preset.components} components, or by another encoder, and reduced by PCA "
        f"to at most {preset.dimensions} dimensions, followed by a linear regression of pixel counts",
        "training": ", ".join(f"{name.replace('_', ' ')} {getattr(base.settings, name)}" for name in TRAINING)
        + "; the ridge penalty of the regression is "
        + ("chosen by mean AUC on validation slices" if preset.ridge == "auto" else preset.ridge)
        + "; there are no ensembles",
        "software": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "measures": f"accuracy, precision, recall and F of label sets (slices {NEITHER} are excluded), "
        "micro and macro F; for each pattern, F, AUC, average precision, Brier score and calibration curve; "
        f"95 % intervals from {preset.resamples} resamples of patients; "
        + (
            "paired permutation tests by patient"
            if preset.seeds == 1
            else f"paired t tests over patients and {preset.seeds} seeds"
        )
        + ", not corrected for multiple testing",
        "thresholds": "the output is one score per pattern; a pattern is predicted if its score reaches the threshold "
        "with the largest F on validation slices; thresholds " + _thresholds(context),
    }


def _thresholds(context: Context) -> str:
    """The decision thresholds of the CNN as text. A CNN that has no scores yet is not trained for the checklist."""
    if not is_scored(context, context.base):
        return "are listed in the result documents"
    return "of the CNN, " + "; ".join(
        f"fold {prediction.fold} held out: "
        + ", ".join(
            f"{pattern} {'–' if t is None else f'{t:.3g}'.replace('-', '−')}"
            for pattern, t in zip(PATTERNS, prediction.decisions.thresholds, strict=True)
        )
        for prediction in predictions(context, context.base)
    )


def _counts(context: Context) -> str:
    """For each held-out fold, text with the numbers of patients, slices and slices per pattern in each part."""
    texts = []
    for split in map(context.split, context.held_out()):
        parts = []
        for name in ("fit", "validation", "test"):
            indices = getattr(split, name)
            shown = (labelled_presence(context.slices, indices, context.base.threshold) > 0).sum(axis=0)
            events = ", ".join(f"{pattern} {n}" for pattern, n in zip(PATTERNS, shown, strict=True))
            parts.append(
                f"{name} {counted(_number(context.slices.patients[indices]), 'patient')}, "
                f"{counted(len(indices), 'slice')} ({events})"
            )
        texts.append(f"fold {split.fold} held out: " + "; ".join(parts))
    return ". ".join(texts)


def _number(names: np.ndarray) -> int:
    return len(set(map(str, names)))
