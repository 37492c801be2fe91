"""The comparison of a scan with the training scans names what differs, in both directions."""

from types import SimpleNamespace

import numpy as np
import pytest

from ildfv.inference.batch import SliceBatch
from ildfv.inference.predictor import Predictor
from ildfv.inference.reliability import statements
from ildfv.inference.schema import Reference

REFERENCE = Reference(
    log_likelihood={"conv1": np.linspace(-30, -10, 101).tolist()},
    pixel_side=(0.6, 0.8),
    spacing=(1.0, 2.5),
    scan_log_likelihood={"conv1": (-22, -18)},
    lung_area=(150, 300),
)


def judged(reference=REFERENCE, *, likelihood=-20.0, lung=200.0, side=0.7, spacing=1.25):
    """The sentences on a scan with these properties."""
    predictor = SimpleNamespace(
        info=SimpleNamespace(reference=reference),
        log_likelihoods=lambda slices, encoding: np.full(len(slices), likelihood),
    )
    volume = SimpleNamespace(pixel_area=side**2, spacing=(spacing, side, side), hu=np.empty((9, 1, 1)))
    return statements(predictor, volume, SliceBatch(np.empty((9, 1, 1, 1)), side**2), np.array([0.0] * 8 + [lung]))


def test_a_scan_like_the_training_scans_is_reported_as_similar():
    (sentence,) = judged()
    assert sentence == (
        "Pixel size, slice spacing, lung area and texture likelihood are within the range of the training slices."
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lung": 11}, "shows 11 cm² of lung; on the training scans, the corresponding slices show 150 to 300 cm²."),
        ({"lung": 500}, "The slice with the most lung shows 500 cm² of lung"),
        ({"side": 1.5}, "Pixels are 1.50 mm wide"),
        ({"spacing": 10}, "Slices are 10.00 mm apart"),
        ({"likelihood": -35}, "a texture that is less likely than the texture of 99 % of the training slices"),
        ({"likelihood": -5}, "a texture that is more likely than the texture of 99 % of the training slices"),
        ({"likelihood": -23.5}, "less likely than the texture of the training scans"),
        ({"likelihood": -16.5}, "more likely than the texture of the training scans"),
    ],
)
def test_each_difference_is_named(change, words):
    summary, sentence = judged(**change)
    assert summary == "The scan differs from the training data in 1 respect."
    assert words in sentence


def test_values_a_little_outside_the_range_are_accepted():
    for change in ({"lung": 125}, {"lung": 370}, {"likelihood": -22.9}, {"likelihood": -17.1}, {"side": 0.83}):
        assert len(judged(**change)) == 1, change


def test_earlier_predictors_compare_what_they_have():
    old = REFERENCE.model_copy(update={"scan_log_likelihood": {}, "lung_area": None})
    assert judged(old, lung=11, likelihood=-17.0) == [
        "Pixel size, slice spacing and texture likelihood are within the range of the training slices."
    ]
    assert "less likely" in judged(old, likelihood=-35)[1]


def test_export_stores_the_ranges_of_the_training_scans(folder):
    reference = Predictor.load(folder).info.reference
    low, high = reference.lung_area
    assert low == high == pytest.approx(60000 * 0.5 / 100)  # of the generated slices
    (low, high), quantiles = reference.scan_log_likelihood["conv1"], reference.log_likelihood["conv1"]
    assert quantiles[0] < low < high < quantiles[-1]
