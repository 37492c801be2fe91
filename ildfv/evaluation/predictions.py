"""The predictions of a system on the test slices of one or several folds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ildfv.appearance import by_appearance
from ildfv.errors import check
from ildfv.evaluation.measures import percentiles
from ildfv.evaluation.thresholds import Decisions


@dataclass(frozen=True)
class Predictions:
    """The predictions of one system on the test slices of one fold, with the reference labels of these slices.

    system: name such as "cnn" or "fv-conv1". scores (N, C): a larger score means more likely present; they may be NaN
    for a pattern without any label. presence (N, C): the reference, 1 present, 0 absent, −1 unknown. Unknown entries
    are excluded from all measures of the pattern, and slices with an unknown entry from all measures of label sets.
    patients (N,): patient of each slice. decisions: fitted on validation slices of the same fold. labels: names of the
    C patterns. unit: "slice", or "scan" if each row is a scan, labelled and scored as a whole. pixel_counts: whether
    labels are pixel counts, to which the threshold of presence is applied, and not labels of presence. unlearned: the
    patterns that no training slice of the fold shows. Their scores measure nothing and are excluded from AUC and AP.
    """

    system: str
    fold: int
    scores: np.ndarray
    presence: np.ndarray
    patients: Sequence[str] | np.ndarray
    decisions: Decisions
    labels: Sequence[str]
    unit: Literal["slice", "scan"] = "slice"
    pixel_counts: bool = True
    unlearned: Collection[str] = ()

    def __post_init__(self) -> None:
        shape = (len(self.patients), len(self.labels))
        for name in ("scores", "presence"):
            check(
                np.shape(getattr(self, name)) == shape,
                f"{name} must have shape {shape}, got {np.shape(getattr(self, name))}",
            )
        check(shape[0] > 0, f"predictions must contain at least one {self.unit}, got none")
        check(bool(np.isin(self.presence, (-1, 0, 1)).all()), "presence must be 1, 0 or −1 (unknown), got other values")
        others = sorted(set(self.unlearned) - set(self.labels))
        check(not others, f"unlearned must only contain labels, got {', '.join(others)}")
        known = (np.asarray(self.presence) >= 0).any(axis=1)
        check(
            bool(known.all()),
            f"every {self.unit} must have a label, got {int((~known).sum())} without a label: exclude {self.unit}s "
            "without a label",
        )
        scored = np.asarray(self.scores)[:, (np.asarray(self.presence) >= 0).any(axis=0)]
        check(bool(np.isfinite(scored).all()), f"scores of {self.system} must be finite, got NaN or infinity")

    @property
    def ranked(self) -> np.ndarray:
        """Whether AUC and AP use the score of a pattern on a slice, bool (N, C): it is labelled and was learned."""
        learned = [label not in self.unlearned for label in self.labels]
        return (np.asarray(self.presence) >= 0) & np.array(learned)


def by_fold(predictions: Predictions | Sequence[Predictions]) -> list[Predictions]:
    """The predictions as a list in the order of the folds.

    InputError: there are no predictions, they are of several systems, of different labels or of slices and scans, a
    fold occurs twice, or a patient is in two folds.
    """
    folds = [predictions] if isinstance(predictions, Predictions) else sorted(predictions, key=lambda f: f.fold)
    check(len(folds) > 0, "predictions must contain at least one fold, got none")
    systems = sorted({f.system for f in folds})
    check(len(systems) == 1, f"predictions must be of one system, got {systems}")
    labels = {tuple(f.labels) for f in folds}
    check(len(labels) == 1, f"predictions must be of the same labels, got {sorted(labels)}")
    check(len({f.unit for f in folds}) == 1, "predictions must be only of slices or only of scans, got both")
    numbers = [f.fold for f in folds]
    check(len(set(numbers)) == len(numbers), f"predictions must be of different folds, got folds {numbers}")
    seen: dict[str, int] = {}
    for f in folds:
        for patient in sorted(set(map(str, f.patients))):
            check(
                patient not in seen,
                f"a patient must be tested in one fold only, got {patient} in folds {seen.get(patient)} and {f.fold}",
            )
            seen[patient] = f.fold
    return folds


@dataclass(frozen=True)
class Pooled:
    """The predictions of several folds, concatenated: N slices, P patients, C patterns.

    truth, predicted, known (whether the presence is known), ranked (`Predictions.ranked`): bool (N, C). scores: (N, C);
    with several folds, percentile ranks within each fold. probability: (N, C). patient: number of each slice's patient,
    (N,). names, fold: name and fold of each patient, (P,).
    """

    truth: np.ndarray
    known: np.ndarray
    ranked: np.ndarray
    scores: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    patient: np.ndarray
    names: np.ndarray
    fold: np.ndarray

    @classmethod
    def of(cls, folds: Sequence[Predictions]) -> Pooled:
        """The pooled predictions of the given folds."""
        presence = np.concatenate([np.asarray(f.presence) for f in folds])
        scores = np.concatenate([np.asarray(f.scores, dtype=float) for f in folds])
        of_slice = np.concatenate([np.full(len(f.scores), f.fold) for f in folds])
        if len(folds) > 1:
            scores = np.stack([percentiles(column, of_slice) for column in scores.T], axis=1)
        owners = np.concatenate([np.asarray(f.patients, dtype=str) for f in folds])
        names, first, patient = by_appearance(owners)
        return cls(
            truth=presence > 0,
            known=presence >= 0,
            ranked=np.concatenate([f.ranked for f in folds]),
            scores=scores,
            predicted=np.concatenate([f.decisions.predict(f.scores) for f in folds]),
            probability=np.concatenate([f.decisions.probability(f.scores) for f in folds]),
            patient=patient,
            names=names,
            fold=of_slice[first],
        )

    def has_slices_of(self, other: Pooled) -> bool:
        """Whether both have the same truth, patients and names, in the same order."""
        return all(
            len(x) == len(y) and bool((x == y).all())
            for x, y in ((self.truth, other.truth), (self.patient, other.patient), (self.names, other.names))
        )
