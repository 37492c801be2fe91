"""Experiments that cannot be run are refused with a reason before anything is trained."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY

from ildfv.errors import InputError, MissingPackageError
from ildfv.experiments import run as run_module
from ildfv.experiments.presets import preset_named
from ildfv.experiments.registry import chosen
from ildfv.experiments.run import run_experiments

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
    shutil.rmtree(root / "results")

    def refused(context, experiment):
        raise InputError("no pattern anywhere")

    monkeypatch.setattr(run_module, "run_one", refused)
    with pytest.raises(InputError, match=r"^balance: no pattern anywhere$"):
        run_experiments(["balance"], preset=TINY, workspace=root, device="cpu")
