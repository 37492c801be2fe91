"""The experiments on the paper's claims: growing data, the sweep, the small set, and transfer."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import TINY, scan

from ildfv.datasets.slice_store import write_scan
from ildfv.errors import InputError
from ildfv.evaluation.tables import Estimate
from ildfv.experiments import growth, sweep, transfer
from ildfv.experiments.context import Context
from ildfv.experiments.results import predictions
from ildfv.pipeline.workspace import Workspace
from ildfv.store.parts import writing_parts


def estimates(*values):
    return [Estimate(value=value, interval=None, mean=value, sd=None, n=1) for value in values]


@pytest.mark.parametrize(
    ("vectors", "network", "said"),
    [
        ((0.9, 0.8, 0.7), (0.8, 0.75, 0.9), "the curves cross: the CNN becomes better between 24 and 48 patients"),
        (
            (0.5, 0.9, 0.9),
            (0.6, 0.8, 0.8),
            "the curves cross: the Fisher vector becomes better between 12 and 24 patients",
        ),
        ((0.9, 0.9, 0.9), (0.8, 0.8, 0.8), "no crossing: the Fisher vector has the larger value at all sizes"),
        ((0.7, 0.7, 0.7), (0.8, 0.8, 0.8), "no crossing: the CNN has the larger value at all sizes"),
        ((0.9, None, 0.7), (0.8, 0.9, 0.8), "the curves cross: the CNN becomes better between 12 and 48 patients"),
        ((None, None, None), (0.8, 0.9, 0.8), "the difference is undefined at all sizes"),
    ],
)
def test_the_sentence_on_the_crossing_is_right_for_cases_computed_by_hand(vectors, network, said):
    assert growth.crossing([12, 24, 48], estimates(*vectors), estimates(*network)) == said


def test_sizes_are_the_available_sizes_of_the_preset_and_the_whole_study(context):
    assert growth.sizes(context) == [2, 3, None]  # TINY asks for 2, 3 and 100
    assert context.fit_patients() > 3


@pytest.mark.parametrize(
    ("limit", "expected"), [(120, [12, None]), (121, [12, 120]), (131, [12, 120]), (132, [12, 120, None])]
)
def test_the_whole_study_is_omitted_if_it_is_hardly_larger_than_the_largest_size(limit, expected):
    context = SimpleNamespace(fit_patients=lambda: limit, preset=SimpleNamespace(growth=(12, 120)))
    assert growth.sizes(context) == expected


def test_fewer_fit_patients_are_a_subset_and_test_and_validation_do_not_change(context):
    patients = context.slices.patients
    splits = [context.split(0, n) for n in (2, 3, None)]
    names = [set(patients[split.fit]) for split in splits]
    assert [len(found) for found in names[:2]] == [2, 3]
    assert names[0] < names[1] < names[2]
    for split in splits:
        np.testing.assert_array_equal(split.test, splits[-1].test)
        np.testing.assert_array_equal(split.validation, splits[-1].validation)
        np.testing.assert_array_equal(split.train, np.union1d(split.fit, split.validation))


def test_the_small_set_has_the_same_patients_for_every_held_out_fold(made):
    context = Context(made, replace(TINY, run=None), device="cpu")
    patients, seen = context.slices.patients, []
    for fold in context.held_out():
        split = context.split(fold, None, 0.5)
        fit, validation, test = (set(patients[getattr(split, part)]) for part in ("fit", "validation", "test"))
        assert fit
        assert validation
        assert test
        assert not fit & validation
        assert not (fit | validation) & test
        assert test <= set(patients[context.split(fold).test])
        seen.append(fit | validation | test)
    assert all(found == seen[0] for found in seen)


def test_the_small_set_is_smaller_than_the_whole(made):
    context = Context(made, replace(TINY, run=None), device="cpu")
    few = context.cnn("few", share=0.5)
    assert few.folder != context.cnn("all").folder
    folds = context.folds.members
    if min(map(len, folds)) <= 2:  # at least two patients of each fold are used
        assert len(context.split_of(few, 0).test) == len(context.split(0).test)


def test_predictions_of_the_small_set_are_of_its_own_test_slices(context):
    network = context.regression("CNN, small set", share=0.5)
    for found in predictions(context, network):
        assert len(found.scores) == len(context.split_of(network, found.fold).test)


def test_the_sweep_changes_one_setting_at_a_time(context):
    components, dimensions = sweep.systems(context)
    assert {k: (s.settings.components, s.settings.dimensions) for k, s in components.items()} == {2: (2, 8), 3: (3, 8)}
    assert {d: (s.settings.components, s.settings.dimensions) for d, s in dimensions.items()} == {4: (3, 4), 8: (3, 8)}


def test_charts_contain_an_estimate_for_every_size(context):
    found = growth.run(context)
    for chart in found.charts:
        assert "phantom data" in chart.title
        assert chart.x == [2, 3, context.fit_patients()]
        assert list(chart.series) == ["CNN", "conv1, Fisher vector"]
        assert all(len(values) == len(chart.x) for values in chart.series.values())
    shown = [one for chart in found.charts for values in chart.series.values() for one in values]
    assert all(one.patients is not None for one in shown)
    assert all(one.value is not None for one in shown)
    assert all(one.interval is None or one.interval[0] <= one.value <= one.interval[1] for one in shown)
    assert all("compared with the CNN" in note for note in found.notes)


@pytest.fixture
def elsewhere(tmp_path):
    """A second workspace, of four patients that are not in the first one."""
    workspace = Workspace.open_or_create(tmp_path / "other", version="test", salt="0123456789abcdef", folds=2)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(20, 24):
            parts.add(write_scan(workspace.slices_dir, replace(scan(number), phantom=False)))
    return workspace.root


def test_transfer_scores_every_slice_of_the_other_workspace_with_the_decisions_of_this_one(used, elsewhere):
    context = Context(used, TINY, other=elsewhere, device="cpu")
    other = Workspace.open(elsewhere).slices()
    found = transfer.transferred(context, context.base, 0, other)
    assert found.scores.shape == (len(other), 4)
    assert found.decisions == predictions(context, context.base)[0].decisions
    (table,) = transfer.run(context).tables
    assert [row[2] for row in table.rows] == ["phantom", "user"] * 2  # two rows for the CNN and two for conv1
    assert "24 labelled slices of 4 patients" in table.note


def test_scores_of_the_same_slices_are_the_same_after_transfer(used, tmp_path):
    """The other workspace is a copy with other patient hashes; its test slices must get the scores of the original."""
    home = Context(used, TINY, device="cpu")
    system = home.encoded("conv1, Fisher vector", "conv1")
    test = home.split(0).test
    found = transfer.transferred(home, system, 0, home.slices)
    np.testing.assert_allclose(found.scores[test], predictions(home, system)[0].scores, rtol=1e-4, atol=1e-4)


def test_patients_in_both_workspaces_are_refused(used, tmp_path):
    copy = Path(shutil.copytree(used, tmp_path / "copy"))
    with pytest.raises(InputError, match="must be a workspace with other patients, got 8 patients"):
        transfer.run(Context(used, TINY, other=copy, device="cpu"))


def test_without_a_second_workspace_transfer_names_the_option_for_it(context):
    found = transfer.run(context)
    assert not found.tables
    assert "--other WORKSPACE" in found.notes[0]
