"""Conformal sets include the true label as often as they promise, for patients and not for slices."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.inference.conformal import Conformal, coverage


def study(patients: int, rng, *, many: bool = False, shift: float = 0.0):
    """(truth, scores, patients) of one pattern: each with a level and one to six slices, or one with 200."""
    sizes = rng.integers(1, 7, patients)
    if many:
        sizes[0] = 200
    owner = np.repeat(np.arange(patients), sizes)
    truth = (rng.random(len(owner)) < 0.5).astype(int)
    scores = 1.5 * truth + shift + rng.normal(size=patients)[owner] + rng.normal(size=len(owner))
    return truth[:, None], scores[:, None], owner


def test_one_slice_of_each_patient_gives_the_usual_split_conformal_quantile():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(40, 1))
    found = Conformal.fit(np.zeros((40, 1)), scores, np.arange(40), level=0.8)
    rank = int(np.ceil(41 * 0.8))  # ⌈(n + 1)(1 − α)⌉
    assert found.absent_to[0] == np.sort(scores[:, 0])[rank - 1]
    assert found.present_from == (None,)
    assert (found.present_patients, found.absent_patients) == ((0,), (40,))


@pytest.mark.parametrize("many", [False, True])
def test_new_patients_are_covered_at_the_level_for_both_labels(many):
    rng = np.random.default_rng(1)
    found = {"present": [], "absent": []}
    for _ in range(300):
        limits = Conformal.fit(*study(25, rng, many=many), level=0.8)
        held_out = coverage(limits, *study(20, rng))
        for label in found:
            found[label].append(held_out[label][0])
    for label, values in found.items():
        assert 0.79 < np.mean(values) < 0.86, (
            label
        )  # at least 0.8, less the error of 300 studies; at most 1/(K + 1) more


def test_a_patient_with_many_slices_counts_once():
    rng = np.random.default_rng(2)
    truth, scores, owner = study(30, rng)
    copies = np.where(owner == 3, 50, 1)
    repeated = [np.repeat(array, copies, axis=0) for array in (truth, scores, owner)]
    assert Conformal.fit(*repeated) == Conformal.fit(truth, scores, owner)


def test_with_too_few_patients_nothing_is_excluded():
    rng = np.random.default_rng(3)
    truth, scores, owner = np.ones((8, 1)), rng.normal(size=(8, 1)), np.arange(8)
    assert Conformal.fit(truth, scores, owner, level=0.9).present_from == (None,)
    truth, scores, owner = np.ones((9, 1)), rng.normal(size=(9, 1)), np.arange(9)
    assert Conformal.fit(truth, scores, owner, level=0.9).present_from == (scores.min(),)


def test_sets_in_words():
    limits = Conformal(0.9, (0.0, 2.0), (1.0, -1.0), (20, 20), (20, 20))
    scores = np.array([[-1, -2], [0.5, 0.0], [3.0, 2.5]])
    assert limits.sets(scores) == [
        ["absent", "absent"],
        ["present or absent", "unlike both"],
        ["present", "present"],
    ]


def test_unknown_labels_are_not_used():
    rng = np.random.default_rng(4)
    truth, scores, owner = study(30, rng)
    unknown = truth.copy()
    unknown[owner < 5] = -1
    keep = owner >= 5
    assert Conformal.fit(unknown, scores, owner) == Conformal.fit(truth[keep], scores[keep], owner[keep])


def test_a_shift_of_the_scores_breaks_the_coverage():
    """The promise is for exchangeable patients only."""
    rng = np.random.default_rng(5)
    limits = Conformal.fit(*study(60, rng), level=0.9)
    assert coverage(limits, *study(300, rng, shift=3.0))["absent"][0] < 0.5


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match=r"level must be in \(0, 1\), got 1"):
        Conformal.fit(np.ones((3, 1)), np.ones((3, 1)), np.arange(3), level=1)
    with pytest.raises(InputError, match=r"patients must have shape \(3,\), got \(2,\)"):
        Conformal.fit(np.ones((3, 1)), np.ones((3, 1)), np.arange(2))
    with pytest.raises(InputError, match="scores must be finite"):
        Conformal.fit(np.ones((3, 1)), np.full((3, 1), np.nan), np.arange(3))
