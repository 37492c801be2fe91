"""What a workspace and its experiments say of themselves, as sentences for a reporting checklist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ildfv.patterns import PATTERNS
from ildfv.pipeline.split import labelled_presence
from ildfv.version import versions

if TYPE_CHECKING:
    from ildfv.experiments.context import Lab

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
    "preparation": "HU by the file's own rescale; three windows (−1400…−950, −1400…200, −160…240 HU) as channels, "
    "averaged to 224×224, uint8; scans that break a rule are set aside with a reason",
    "eligibility": "scans with CT geometry that ildfv prepare accepts; slices with a label map",
    "subsets": "every labelled slice of every scan that was prepared enters; none is picked",
    "identities": "patients and scans are known by salted hashes only",
    "predictors": "the pixels of one whole slice, no region drawn, no clinical variables",
    "assessors": "none: no predictor is read by a person",
    "handling": "grey levels centred and scaled per window by the fit slices; encodings reduced by PCA of the training "
    "slices",
    "robustness": "two thresholds T, other losses, targets, layers, encoders and numbers of patients, side by side",
    "explainability": "none but the label map of the patch baseline",
    "clusters": "patients are the clusters: intervals and tests resample or swap whole patients; centres are not told "
    "apart",
    "updating": "none: no model is changed after it has seen test slices",
    "calculation": "by ildfv.train.trainer.predict, and FisherVector, PCA and MultivariateRegression of ildfv",
    "imbalance": "no resampling; losses are unweighted unless called balanced, whose weights β come from the fit "
    "slices; probabilities are calibrated on validation slices in either case",
    "performance": "the tables of these experiments: pooled over held-out folds, 95 % intervals, mean ± SD over folds",
    "differences": "folds of one workspace, dealt by patient and stratified by pattern: none is meant",
    "external": "none: all patients are from one workspace",
    "failures": "example slices, right and wrong, drawn by a rule and a seed (experiment examples)",
    "code": "this package, MIT licence; encodings, scores and the networks that are kept lie under experiments/",
}


def facts(lab: Lab) -> dict[str, str]:
    """A sentence or two for each key that `checklist.ITEMS` asks for."""
    slices, folds, preset, base = lab.slices, lab.folds, lab.preset, lab.base
    labelled = slices.labelled
    phantom = slices.data == "phantom"
    return FIXED | {
        "source": ("generated phantoms, not patients" if phantom else "the user's own scans")
        + f"; the paper's {lab.paper.data} data are not used",
        "flow": f"{_number(slices.patients)} patients, {_number(slices.series)} scans, {len(slices)} slices prepared; "
        f"{_number(slices.patients[labelled])} patients and {int(labelled.sum())} slices with labels enter; scans "
        "set aside are listed in prepare.json",
        "missing": f"{int((~labelled).sum())} slices without labels are neither trained nor tested on"
        if not labelled.all()
        else "none: every slice has labels",
        "outcome": "a pattern is present on a slice from T pixels of its label map on, counted on the original grid; "
        f"T = {lab.threshold} unless a table says otherwise"
        + ("; label maps are the phantoms' own" if phantom else ""),
        "partitions": f"{folds.n_folds} folds of whole patients, stratified by pattern, seed {folds.seed}; held out in "
        f"turn: {', '.join(map(str, lab.held_out()))}. A fifth of the others is its validation split",
        "counts": _counts(lab),
        "model": f"{preset.network} with random weights by seed {base.settings.seed}; its layers encoded by a mixture "
        f"of {preset.components} or another encoder, PCA to at most {preset.dimensions}, linear regression of counts",
        "training": ", ".join(f"{name.replace('_', ' ')} {getattr(base.settings, name)}" for name in TRAINING)
        + "; ridge penalty of the regression by mean AUC on validation slices; no ensembles",
        "software": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "measures": "accuracy, precision, recall and F over label sets (slices without any pattern, present or called, "
        "are left out), micro and macro F; per pattern F, AUC, average precision, Brier score, calibration curve; "
        f"95 % intervals by resampling patients {preset.resamples} times; paired permutation tests by patient, not "
        "corrected for their number",
        "thresholds": "scores; a pattern is called from the threshold of largest F on validation slices on; "
        + _thresholds(lab),
    }


def _thresholds(lab: Lab) -> str:
    """Those of the CNN, where it was scored already: nothing is trained for a checklist."""
    if not lab.is_scored(lab.base):
        return "the tables' documents hold them"
    return "of the CNN, " + "; ".join(
        f"without fold {one.fold}: "
        + ", ".join(
            f"{pattern} {'–' if t is None else f'{t:.3g}'.replace('-', '−')}"
            for pattern, t in zip(PATTERNS, one.decisions.thresholds, strict=True)
        )
        for one in lab.predictions(lab.base)
    )


def _counts(lab: Lab) -> str:
    """Patients, slices and slices with each pattern of every role of every fold held out."""
    told = []
    for roles in map(lab.roles, lab.held_out()):
        parts = []
        for name in ("fit", "validation", "test"):
            indices = getattr(roles, name)
            shown = labelled_presence(lab.slices, indices, lab.threshold).sum(axis=0)
            events = ", ".join(f"{pattern} {n}" for pattern, n in zip(PATTERNS, shown, strict=True))
            parts.append(f"{name} {_number(lab.slices.patients[indices])} patients, {len(indices)} slices ({events})")
        told.append(f"fold {roles.fold} held out: " + "; ".join(parts))
    return ". ".join(told)


def _number(names: np.ndarray) -> int:
    return len(set(map(str, names)))
