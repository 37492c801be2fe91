"""Tables contain the baselines, and one table states whether a system beats the best of them."""

import pytest

from ildfv.evaluation.baselines import Verdict
from ildfv.experiments.against import _text, against, baselines, pairs
from ildfv.experiments.layers import in_lung
from ildfv.experiments.results import documents


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((-0.01, 0.08), "+0.031 (−0.010 to +0.080) against p15; does not beat it"),
        ((0.01, 0.08), "+0.031 (+0.010 to +0.080) against p15; beats it"),
        (None, "+0.031 against p15; undetermined: no interval"),
    ],
)
def test_a_cell_states_what_the_interval_shows(interval, text):
    assert _text(Verdict("CNN", "baseline-p15", "emphysema", 0.031, interval)) == text


def test_an_undefined_difference_is_an_empty_cell():
    assert _text(None) is None
    assert _text(Verdict("CNN", "baseline-p15", "emphysema", None, None)) is None


def test_systems_are_compared_with_the_best_baselines(context):
    rivals = baselines(context)
    assert [one.label for one in rivals] == ["baseline-lung-area", "baseline-prevalence"]  # no densities in format 1
    aucs = [documents(context, one)["pooled"].overall.mean_auc for one in rivals]
    assert aucs == [0.5, 0.5]  # the lung fills all slices, so both baselines are constant
    chosen = pairs(context, [context.base], rivals)
    assert chosen == [(context.base, rivals[1])]  # of equal baselines, the last one by name
    table = against(context, [context.base], rivals)
    (row,) = table.rows
    assert row[:3] == ["CNN", "this run", "phantom"]
    assert all("against prevalence; undetermined: no interval" in cell for cell in row[3:])  # four patients are too few


def test_pooling_in_the_lung_and_in_the_whole_slice_are_different_systems(context):
    slice_, lung = context.encoded("slice", "conv1"), in_lung(context, "conv1")
    assert slice_.folder != lung.folder
    assert slice_.folder == context.encoded("again", "conv1", region="slice").folder
    assert lung.inputs["encode"]["region"] == "lung"
