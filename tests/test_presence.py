"""A pattern is present from T pixels on, or from a percentage of the slice's lung pixels on."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.patterns import ABSENT, PRESENT, UNLABELLED, extent_text, parse_threshold, presence


@pytest.mark.parametrize(
    ("given", "stored"),
    [(6000, 6000), ("6000", 6000), ("5%", "5%"), ("5 %", "5%"), ("5.0%", "5%"), ("0.25%", "0.25%"), ("100%", "100%")],
)
def test_a_threshold_has_one_stored_form(given, stored):
    assert parse_threshold(given) == stored
    assert parse_threshold(stored) == stored


@pytest.mark.parametrize("given", [0, -1, "0%", "-5%", "101%", "nan%", "five", "5.5", "%", "", "5%%", True])
def test_other_thresholds_are_refused(given):
    with pytest.raises(InputError, match=r"T must be a number of pixels of at least 1, or a percentage of the lung"):
        parse_threshold(given)


def test_a_percentage_is_of_the_lung_pixels_of_each_slice():
    counts = np.array([[2999, 3000, 3001, 0], [499, 500, 501, 0]])
    found = presence(counts, "5%", lung=[60000, 10000])
    assert found.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0]]


@pytest.mark.parametrize("percentage", range(1, 100))
def test_rounding_does_not_move_a_percentage(percentage):
    """7 % of 100 pixels are 7 pixels, although 0.07 · 100 > 7 in floating point."""
    assert presence([[percentage, percentage - 1]], f"{percentage}%", lung=[100]).tolist() == [[1, 0]]


def test_without_lung_pixels_one_pixel_suffices():
    assert presence([[0, 1, UNLABELLED, 5000]], "5%", lung=[0]).tolist() == [[0, 1, -1, 1]]


@pytest.mark.parametrize("threshold", [1, 6000, "0.1%", "100%"])
def test_labels_of_presence_are_the_same_at_every_threshold(threshold):
    counts = [[ABSENT, PRESENT, UNLABELLED, PRESENT]] * 2
    assert presence(counts, threshold, lung=[0, 262144]).tolist() == [[0, 1, -1, 1]] * 2


def test_a_percentage_needs_the_lung_pixels():
    with pytest.raises(InputError, match="T in percent needs the lung pixels of each slice, got none for T = 5%"):
        presence([[1, 2, 3, 4]], "5%")


def test_text_states_the_unit():
    assert extent_text(6000) == "6000 pixels"
    assert extent_text("5%") == "5% of the lung pixels"
