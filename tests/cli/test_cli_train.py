"""The options of `train` become settings of the training, and a loss implies its target."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.train.settings import TrainSettings


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """A function that returns the settings that `train` receives for the given options."""
    given = {}

    def record(workspace, **options):
        names = set(TrainSettings.__dataclass_fields__) & set(options)
        given.update({name: options[name] for name in names})

    monkeypatch.setattr("ildfv.pipeline.train.train_network", record)

    (tmp_path / "workspace.toml").touch()

    def run(*options):
        ended = CliRunner().invoke(app, ["train", "-w", str(tmp_path), *options])
        assert ended.exit_code == 0, ended.output
        return TrainSettings(**given)

    return run


@pytest.mark.parametrize(
    ("loss", "target"),
    [("logistic", "presence"), ("balanced-logistic", "presence"), ("l2", "counts"), ("smooth-l1", "counts")],
)
def test_a_loss_implies_its_target(settings, loss, target):
    assert settings("--loss", loss).target == target


def test_every_option_reaches_the_settings(settings):
    found = settings(
        *("--loss", "l2", "--ramp", "3000,9000", "--threshold", "4000", "--weights", "w.safetensors"),
        *("--optimizer", "sgd", "--layer-decay", "0.8"),
    )
    assert (found.target, found.ramp, found.threshold) == ("ramp", (3000.0, 9000.0), 4000)
    assert (Path(found.weights), found.optimizer) == (Path("w.safetensors"), "sgd")
    assert found.layer_decay == 0.8


def test_unit_1_selects_the_papers_unit_of_counts(settings):
    assert settings("--loss", "smooth-l1", "--unit", "1").unit == 1


def test_patience_keeps_the_best_epoch(settings):
    found = settings("--patience", "3", "--epochs", "20")
    assert (found.patience, found.epochs, found.select) == (3, 20, "best")


@pytest.mark.parametrize("text", ["3000", "3000,x", "1,2,3"])
def test_a_ramp_that_is_not_two_numbers_is_refused(text):
    ended = CliRunner().invoke(app, ["train", "--loss", "l2", "--ramp", text])
    assert ended.exit_code != 0
    assert isinstance(ended.exception, Exception)
    assert "T1,T2" in str(ended.exception) + ended.output
