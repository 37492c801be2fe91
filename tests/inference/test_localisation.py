"""Measures that compare maps with label maps: correct on maps with a known result, and fitted on training slices."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ildfv.errors import InputError
from ildfv.inference.localisation import LabelledSlices, MapScores, evaluate_maps
from ildfv.inference.map_controls import CONTROLS
from ildfv.inference.map_measures import best_threshold, dice_at, pixel_auc, pointing_game  # fmt: skip

SIDE = 112  # smaller than a prepared slice, as no measure depends on the size


def labelled(patients: int, slices: int = 2, seed: int = 0, prefix: str = "a") -> LabelledSlices:
    """Noise; pattern c is a square of 15 pixels in quarter c of slices in which it occurs; the lung is the middle."""
    rng = np.random.default_rng([seed, patients])
    m = patients * slices
    labels = np.zeros((m, SIDE, SIDE), np.uint8)
    for i in range(m):
        for c in range(4):
            if rng.random() < 0.7:
                r, q = 56 * (c // 2) + rng.integers(10, 30), 56 * (c % 2) + rng.integers(10, 30)
                labels[i, r : r + 15, q : q + 15] = c + 1
    lung = np.zeros((m, SIDE, SIDE), bool)
    lung[:, 8:104, 8:104] = True
    names = np.repeat([f"{prefix}{p}" for p in range(patients)], slices)
    return LabelledSlices(
        rng.integers(0, 255, (m, 3, SIDE, SIDE)).astype(np.uint8), labels, names, np.full(m, 0.5), lung
    )


def truth(slices: LabelledSlices) -> np.ndarray:
    """The maps of a system that sees the labels."""
    return np.stack([slices.labels == c + 1 for c in range(4)], axis=1).astype(float)


def noise(slices: LabelledSlices) -> np.ndarray:
    return np.random.default_rng(len(slices)).normal(size=(len(slices), 4, SIDE, SIDE))


@pytest.mark.parametrize("levels", [3, 10_000])
def test_pixel_auc_is_that_of_scikit_learn(levels):
    rng = np.random.default_rng(0)
    values, mask = rng.integers(0, levels, (20, 30)) - levels // 2, rng.random((20, 30)) < 0.2
    within = rng.random((20, 30)) < 0.6
    assert pixel_auc(values, mask) == pytest.approx(roc_auc_score(mask.ravel(), values.ravel()), abs=1e-12)
    expected = roc_auc_score(mask[within], values[within])
    assert pixel_auc(values, mask, within) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(pixel_auc(values, np.zeros_like(mask)))


def test_the_sign_of_a_map_counts():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 2:5] = True
    assert pixel_auc(-1.0 * mask, mask) == 0.0
    assert pointing_game(-1.0 * mask, mask) == 0.0
    assert dice_at(-1.0 * mask, mask, 0.0) == 0.0


def test_the_pointing_game_asks_for_the_highest_pixel_only():
    values, mask = np.zeros((20, 20)), np.zeros((20, 20), bool)
    mask[5:8, 5:8] = True
    values[6, 10] = 1.0
    assert pointing_game(values, mask) == 0.0
    assert pointing_game(values, mask, tolerance=3) == 1.0
    values[6, 6] = 1.0
    assert pointing_game(values, mask) == 0.5  # of two highest pixels one is in the mask
    assert pointing_game(values, mask, within=np.arange(20) < 9 * np.ones((20, 1))) == 1.0


def test_the_best_threshold_is_that_of_an_exhaustive_search():
    rng = np.random.default_rng(1)
    mask = rng.random((30, 30)) < 0.3
    values = np.round(rng.normal(size=mask.shape) + mask, 1)  # with ties
    found = best_threshold(values.ravel(), mask.ravel())
    every = [dice_at(values, mask, t) for t in np.unique(values)]
    assert dice_at(values, mask, found) == max(every)


def test_a_perfect_map_is_perfect_and_noise_is_at_chance():
    found = evaluate_maps({"truth": truth, "noise": noise}, labelled(6), labelled(8, prefix="b"))
    for c in range(4):
        for measure in ("pixel_auc", "pointing_game", "dice"):
            assert found["truth"].estimate(measure, c).value == 1.0
        assert found["noise"].estimate("pixel_auc", c).value == pytest.approx(0.5, abs=0.02)
        assert found["noise"].estimate("dice", c).value < 0.1


def test_a_lung_mask_is_worthless_inside_the_lung():
    training, held_out = labelled(6), labelled(8, prefix="b")
    control = {"lung": CONTROLS["lung mask"]}
    whole, inside = (evaluate_maps(control, training, held_out, within=w)["lung"] for w in ("slice", "lung"))
    assert whole.estimate("pixel_auc", 0).value > 0.6
    assert inside.estimate("pixel_auc", 0).value == 0.5


def test_slices_without_the_pattern_do_not_count():
    training, held_out = labelled(6), labelled(8, prefix="b")
    found = evaluate_maps({"noise": noise}, training, held_out)["noise"]
    shown = held_out.shown(2)
    assert (np.isfinite(found.pixel_auc[:, 2]) == shown).all()
    estimate = found.estimate("pixel_auc", 2, resamples=200)
    assert estimate.slices == shown.sum()
    assert estimate.patients == len(set(held_out.patients[shown]))
    assert estimate.value == pytest.approx(np.mean(found.pixel_auc[shown, 2]))
    low, high = estimate.interval
    assert low < estimate.value < high


def test_thresholds_come_from_the_training_slices_alone():
    training = labelled(6)
    a, b = (evaluate_maps({"noise": noise}, training, labelled(8, seed=s, prefix="b"))["noise"] for s in (1, 2))
    np.testing.assert_array_equal(a.thresholds, b.thresholds)


def test_folds_are_pooled_by_slices():
    training = labelled(6)
    folds = [evaluate_maps({"n": noise}, training, labelled(4, seed=s, prefix=f"{s}-"))["n"] for s in (1, 2)]
    both = MapScores.joined(folds)
    values = np.concatenate([one.pointing_game[:, 1] for one in folds])
    assert both.estimate("pointing_game", 1).value == pytest.approx(np.nanmean(values))
    dice = 2 * np.nansum(both.both[:, 3]) / (np.nansum(both.called[:, 3]) + np.nansum(both.true[:, 3]))
    assert both.estimate("dice", 3).value == pytest.approx(dice)


def test_mixed_patients_and_wrong_shapes_are_refused():
    with pytest.raises(InputError, match="must be of different patients, got 6 in both"):
        evaluate_maps({"noise": noise}, labelled(6), labelled(8))
    with pytest.raises(InputError, match=r"maps of few must have shape \(12, 4, 112, 112\), got \(12, 2, 112, 112\)"):
        evaluate_maps({"few": lambda s: noise(s)[:, :2]}, labelled(6), labelled(8, prefix="b"))
