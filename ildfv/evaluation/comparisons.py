"""Paired comparisons of two systems on the same slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ildfv.errors import check
from ildfv.evaluation.documents import COMPARISON, Comparison, unit_field
from ildfv.evaluation.intervals import RESAMPLES, paired_over_seeds
from ildfv.evaluation.measures import Mean
from ildfv.evaluation.predictions import Pooled, Predictions, by_fold
from ildfv.evaluation.system_measures import MEANS, SUPPORTED, patterns_with, system_measures

TESTED = ("accuracy", "f", "mean_slice_f", "micro_f", "macro_f", "mean_auc", SUPPORTED)  # overall measures in `compare`


def compare(
    a: Predictions | Sequence[Predictions],
    b: Predictions | Sequence[Predictions],
    *,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Tests of two systems on the same slices, paired by patient. This is `compare_over_seeds` with one seed."""
    return compare_over_seeds([(a, b)], n_resamples=n_resamples, seed=seed)


def compare_over_seeds(
    pairs: Sequence[tuple[Predictions | Sequence[Predictions], Predictions | Sequence[Predictions]]],
    *,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Tests of two systems on the same slices, paired by patient. Each system is fitted with one or several seeds.

    AUCs exclude a pattern in a fold if one of the systems did not learn it there (`Predictions.unlearned`).
    Macro F and mean AUC are means over the patterns for which both systems have a value with every seed. p values are
    not corrected for the number of tests. With several seeds, the differences are means over the seeds, and their
    intervals include the variation over seeds (`paired_over_seeds`).

    Parameters
    ----------
    pairs : sequence of (predictions, predictions)
        For each seed, the predictions of the two systems on one or several folds.
    n_resamples : int
        Number of bootstrap resamples of the patients, and of random swaps in a permutation test.
    seed : int
        Seed of the resampling and of the swaps.

    Raises
    ------
    InputError
        There is no pair; the predictions of a system are not consistent (`predictions.by_fold`); or the predictions are
        not for the same slices in the same order, or not for the same patterns.
    """
    check(len(pairs) > 0, "pairs must contain the predictions of at least one seed, got none")
    folds = [(by_fold(a), by_fold(b)) for a, b in pairs]
    (first, second), reference = folds[0], Pooled.of(folds[0][0])
    for predictions in (side for pair in folds for side in pair):
        check(
            reference.has_slices_of(Pooled.of(predictions)) and list(predictions[0].labels) == list(first[0].labels),
            f"{first[0].system} and {second[0].system} must be scored on the same slices in the same order",
        )
    folds = _equally_learned(folds)
    measures, n = [(system_measures(a), system_measures(b)) for a, b in folds], len(reference.names)
    systems = [system for pair in measures for system in pair]
    for mean, name in MEANS.items():
        common = patterns_with(name, n, first[0].labels, *systems)
        for found in systems:
            found[mean] = Mean(tuple(found[f"{p}/{name}"] for p in common))
    tests = {
        name: paired_over_seeds([(a[name], b[name]) for a, b in measures], n, n_resamples=n_resamples, seed=seed)
        for name in measures[0][0]
        if name in TESTED or name.endswith(("/auc", "/f"))
    }
    return Comparison(
        kind=COMPARISON,
        version=2,
        a=first[0].system,
        b=second[0].system,
        n_slices=len(reference.truth),
        n_patients=n,
        seeds=len(pairs),
        resamples=n_resamples,
        seed=seed,
        tests=tests,
        **unit_field(first[0].unit),
    )


def _equally_learned(
    folds: list[tuple[list[Predictions], list[Predictions]]],
) -> list[tuple[list[Predictions], list[Predictions]]]:
    """The predictions with equal `unlearned` of all systems and seeds in each fold: their union."""
    unlearned: dict[int, set[str]] = {}
    for one in (p for pair in folds for side in pair for p in side):
        unlearned.setdefault(one.fold, set()).update(one.unlearned)

    def equal(side: list[Predictions]) -> list[Predictions]:
        return [replace(one, unlearned=tuple(sorted(unlearned[one.fold]))) for one in side]

    return [(equal(a), equal(b)) for a, b in folds]
