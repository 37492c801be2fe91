"""Early stopping ends training at the same epoch after any interruption, and changes nothing unless it is requested."""

import json

import numpy as np
import pytest
from train_support import MemorySlices, Stopping

from ildfv.errors import InputError
from ildfv.evaluation.metrics import roc_auc
from ildfv.patterns import presence
from ildfv.store.models import load_info
from ildfv.train import networks
from ildfv.train.selection import is_exhausted, kept_epoch
from ildfv.train.settings import TrainSettings, check_same
from ildfv.train.trainer import predict, train

FIT, VALIDATION = np.arange(40), np.arange(40, 60)  # patients 0 to 3, and 4 and 5
SETTINGS = TrainSettings(network="tiny", epochs=12, batch_size=8, learning_rate=0.02, patience=2)


def misleading(kind=MemorySlices, **options):
    """Slices whose validation labels are wrong, so that further training lowers their AUC."""
    slices = kind(**options)
    slices.counts[VALIDATION] = slices.counts[VALIDATION][::-1]
    return slices


def run(folder, slices, settings=SETTINGS, validation=VALIDATION, **options):
    return train(settings, slices, FIT, validation, folder, checkpoint_seconds=0, **options)


def rows(*aucs):
    return [{"epoch": i, "loss": 1.0, "validation_loss": 1.0, "mean_auc": a} for i, a in enumerate(aucs, start=1)]


@pytest.mark.parametrize(
    ("aucs", "patience", "ended"),
    [
        ((0.5, 0.6, 0.6), 1, True),  # an equal value is no improvement
        ((0.5, 0.6, 0.6), 2, False),
        ((0.5, 0.6, 0.55, 0.59), 2, True),
        ((0.5, 0.6, 0.55, 0.61), 2, False),
        ((0.5, 0.4, 0.3), None, False),
        ((None, None), 1, True),  # AUC undefined, and the loss is the same
        ((), 1, False),
    ],
)
def test_training_ends_after_patience_epochs_without_improvement(aucs, patience, ended):
    assert is_exhausted(rows(*aucs), patience) is ended


def test_patience_keeps_the_best_epoch(tmp_path):
    slices = misleading()
    result = run(tmp_path, slices)
    assert result.epoch == kept_epoch(result.history, "best") == len(result.history) - 2
    assert len(result.history) < 12
    info = load_info(tmp_path)
    assert (info["epoch"], len(info["history"])) == (result.epoch, len(result.history))
    assert (info["settings"]["patience"], info["settings"]["select"]) == (2, "best")
    truth = presence(slices.counts[VALIDATION])
    scores = predict(networks.load(tmp_path), slices, VALIDATION)
    aucs = [roc_auc(truth[:, k], scores[:, k]) for k in range(4)]
    assert np.mean(aucs) == pytest.approx(result.history[result.epoch - 1]["mean_auc"])


def test_the_kept_weights_are_those_of_a_training_that_ran_all_epochs(tmp_path):
    """The learning rate depends on `epochs`, not on where training stopped."""
    stopped = run(tmp_path / "stopped", misleading())
    complete = run(tmp_path / "complete", misleading(), TrainSettings(**{**vars(SETTINGS), "patience": 11}))
    assert complete.history[: len(stopped.history)] == stopped.history


@pytest.mark.parametrize("reads", [3, 9, 15, 22])
def test_an_interrupted_training_stops_at_the_same_epoch_with_the_same_bytes(tmp_path, reads):
    run(tmp_path / "undisturbed", misleading())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", misleading(Stopping, after=reads))
    run(tmp_path / "stopped", misleading())
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    assert not (tmp_path / "stopped" / "checkpoint").exists()


def test_a_stopped_training_is_not_continued(tmp_path):
    first = run(tmp_path, misleading())
    fresh = misleading()
    again = run(tmp_path, fresh)
    assert not fresh.touched
    assert (again.epoch, again.history) == (first.epoch, first.history)


def test_a_note_states_where_training_stopped(tmp_path):
    notes = []

    class Notes:
        from ildfv.progress import SILENT

        task = staticmethod(SILENT.task)
        note = staticmethod(notes.append)

    result = run(tmp_path, misleading(), progress=Notes())
    last = len(result.history)
    assert notes[-1] == (
        f"Training stopped after epoch {last} of 12: 2 epochs without improvement. "
        f"The weights of epoch {result.epoch} are kept"
    )


def test_one_validation_patient_is_too_few(tmp_path):
    with pytest.raises(InputError, match="patience needs at least 2 validation patients with labels, got 1: omit"):
        run(tmp_path, MemorySlices(), validation=np.arange(40, 50))
    assert not (tmp_path / "checkpoint").exists()


def test_without_patience_nothing_is_recorded(tmp_path):
    run(tmp_path, MemorySlices(), TrainSettings(network="tiny", epochs=1, batch_size=8))
    info = json.loads((tmp_path / "model.json").read_text())
    assert "patience" not in info["settings"]
    assert "patience" not in info["identity"]["settings"]


def test_a_training_with_another_patience_is_refused():
    with_patience, without = ({"settings": one.recorded()} for one in (SETTINGS, TrainSettings(network="tiny")))
    for requested, found, got in ((with_patience, without, "None, got 2"), (without, with_patience, "2, got None")):
        with pytest.raises(InputError, match=f"with patience = {got}"):
            check_same({**requested, "slices": "", "fit": "", "validation": ""}, found, "models/cnnf")


def test_patience_must_be_positive():
    with pytest.raises(InputError, match="patience must be at least 1 epoch, got 0"):
        TrainSettings(patience=0)
