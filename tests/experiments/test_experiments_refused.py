"""Experiments that cannot be run are refused with a reason before anything is trained."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY

from ildfv.datasets.slice_labels import SliceLabels
from ildfv.errors import InputError, MissingPackageError
from ildfv.experiments import run as run_module
from ildfv.experiments.presets import preset_named
from ildfv.experiments.registry import chosen
from ildfv.experiments.run import run_experiments
from ildfv.patterns import PRESENT
from ildfv.pipeline.prepare_labels import SLICE_LABELS
from ildfv.pipeline.workspace import Workspace
from ildfv.store.checksummed import write_checksummed

pytestmark = pytest.mark.slow


def test_unknown_names_are_refused_with_the_known_ones():
    for names in (["loses"], ["all", "loses"]):
        with pytest.raises(InputError, match=r'losses.* got "loses"'):
            chosen(names)
    with pytest.raises(InputError, match="small, medium, paper"):
        preset_named("large")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"networks": {"foo:bar": {}}}, 'network must be one of .* got "foo:bar"'),
        ({"lungs": "foo"}, 'lungs must be rule or lungmask, got "foo"'),
        ({"ridge": "foo"}, 'ridge must be .*, or auto, got "foo"'),
        ({"networks": {"patch": {}}}, 'network must take whole slices, got "patch"'),
    ],
)
def test_impossible_requests_are_refused_before_training(tmp_path, monkeypatch, given, message):
    monkeypatch.setattr(run_module, "home", lambda *_: pytest.fail("must be refused before there is a workspace"))
    with pytest.raises(InputError, match=message):
        run_experiments(["networks"], preset=replace(TINY, **given), workspace=tmp_path)


def test_a_missing_package_is_reported_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lungmask", None)
    with pytest.raises(MissingPackageError, match="lungmask"):
        run_experiments(["speed"], preset=replace(TINY, lungs="lungmask"), workspace=tmp_path)


def test_an_impossible_experiment_states_the_reason_also_if_run_alone(used, monkeypatch, tmp_path):
    root = Path(shutil.copytree(used, tmp_path / "w"))
    shutil.rmtree(root / "results", ignore_errors=True)

    def refused(context, experiment):
        raise InputError("no pattern anywhere")

    monkeypatch.setattr(run_module, "run_one", refused)
    with pytest.raises(InputError, match=r"^balance: no pattern anywhere$"):
        run_experiments(["balance"], preset=TINY, workspace=root, device="cpu")


def test_labels_0_and_1_are_refused_before_training_and_fit_is_named(used, monkeypatch, tmp_path):
    root = Path(shutil.copytree(used, tmp_path / "w"))
    monkeypatch.setattr(run_module, "run_one", lambda *_: pytest.fail("must be refused before"))
    slices = Workspace.open(root).stored_slices()
    series = {name: {0: [PRESENT, 0, -1, 0]} for name in slices.names[:2]}
    labels = {"kind": SLICE_LABELS, "version": 1, "labels": SliceLabels(series).to_dict()}
    write_checksummed(root / "slice-labels.json", labels)
    message = r"^experiment needs numbers of pixels, .*, got labels 0 and 1 \(2 slices with a 1\): use `ildfv fit`$"
    for name in ("losses", "statistics", "all"):
        with pytest.raises(InputError, match=message):
            run_experiments([name], preset=TINY, workspace=root, device="cpu")
