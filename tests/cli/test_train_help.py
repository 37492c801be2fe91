"""`train --help` shows the actual defaults of the training settings, without loading torch."""

import inspect
import subprocess
import sys
from dataclasses import fields

import pytest

from ildfv.cli.train import train
from ildfv.train.settings import TrainSettings

SHOWN = ("network", "loss", "optimizer", "epochs", "batch_size", "shards", "learning_rate", "augment")


@pytest.mark.parametrize("name", SHOWN)
def test_the_default_of_an_option_is_that_of_the_setting(name):
    defaults = {field.name: field.default for field in fields(TrainSettings)}
    assert inspect.signature(train).parameters[name].default == defaults[name]


def test_help_shows_defaults_without_loading_torch():
    code = "import sys; from ildfv.cli.app import app; app(['train', '--help'], standalone_mode=False); "
    code += "sys.exit('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.returncode == 0
    for value in ("6", "16", "0.0004", "logistic"):
        assert f"[default: {value}]" in shown.stdout
