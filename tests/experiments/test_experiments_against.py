"""Tables contain the baselines, and one states whether a system beats the best of them."""

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
def test_a_cell_says_what_the_interval_decides(interval, text):
    assert _text(Verdict("CNN", "baseline-p15", "emphysema", 0.031, interval)) == text


def test_an_undefined_difference_is_an_empty_cell():
    assert _text(None) is None
    assert _text(Verdict("CNN", "baseline-p15", "emphysema", None, None)) is None


def test_systems_are_compared_with_the_baselines_that_are_best_somewhere(context):
    rivals = baselines(context)
    assert [one.label for one in rivals] == ["baseline-lung-area", "baseline-prevalence"]  # format 1: no densities
    aucs = [documents(context, one)["pooled"].overall.mean_auc for one in rivals]
    assert aucs == [0.5, 0.5]  # the lung fills all slices: neither tells them apart
    chosen = pairs(context, [context.base], rivals)
    assert chosen == [(context.base, rivals[1])]  # of equal ones, the last by name
    table, notes = against(context, [context.base], rivals)
    (row,) = table.rows
    assert row[:3] == ["CNN", "this run", "phantom"]
    assert all("against prevalence; undetermined: no interval" in cell for cell in row[3:])  # four patients
    assert len(notes) == 1
    assert "does not beat" not in notes[0]


def test_pooling_in_the_lung_is_another_system_than_pooling_the_slice(context):
    slice_, lung = context.encoded("slice", "conv1"), in_lung(context, "conv1")
    assert slice_.folder != lung.folder
    assert slice_.folder == context.encoded("again", "conv1", region="slice").folder
    assert lung.inputs["encode"]["region"] == "lung"
