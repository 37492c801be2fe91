"""The times that the page of the experiments states."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY

from ildfv.errors import InputError
from ildfv.experiments import fitted
from ildfv.experiments import run as run_module
from ildfv.experiments.context import Context
from ildfv.experiments.registry import experiments
from ildfv.experiments.results import predictions
from ildfv.experiments.scoring import scores
from ildfv.store.atomic import read_json

pytestmark = pytest.mark.slow


def test_times_of_interrupted_runs_are_summed(made, tmp_path, monkeypatch):
    import time

    root = Path(shutil.copytree(made, tmp_path / "w"))
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def slow(context, experiment, *, stop):
        def run(context):
            clock[0] += 100
            predictions(context, context.base)
            clock[0] += 11
            if stop:
                raise KeyboardInterrupt
            return experiment.run(context)

        return replace(experiment, run=run)

    experiment, context = experiments()["curves"], Context(root, TINY, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        run_module.run_one(context, slow(context, experiment, stop=True))
    again = Context(root, TINY, device="cpu")
    assert run_module.run_one(again, slow(again, experiment, stop=False)).seconds == 222
    other = Context(root, replace(TINY, name="other"), device="cpu")  # times are summed for each preset separately
    assert run_module.run_one(other, slow(other, experiment, stop=False)).seconds == 111


def test_the_time_of_finished_work_in_a_killed_run_is_counted(made, tmp_path):
    context, told = Context(Path(shutil.copytree(made, tmp_path / "w")), TINY, device="cpu"), []

    def run(context):
        fisher = context.encoded("fisher", "conv1")
        patches = context.patches("patches")
        steps = (
            (fitted.network, context.base),
            (fitted.encoding, fisher),
            (scores, fisher),
            (fitted.patch_network, patches),
        )
        for step, system in steps:
            step(context, system, 0)
            told.append(read_json(context.folder / run_module.TIMES)["tiny/curves"])
        raise InputError("as good as killed")

    with pytest.raises(InputError):
        run_module.run_one(context, replace(experiments()["curves"], run=run))
    assert 0 < told[0] < told[1] < told[2] < told[3]
