"""Training learns, gives the same bits after any interruption, and reads only the given slices."""

import gc
import json
import weakref

import numpy as np
import pytest
import torch
from train_support import MemorySlices, Stopping

from ildfv.errors import InputError
from ildfv.evaluation.metrics import roc_auc
from ildfv.patterns import presence
from ildfv.store.models import load_info
from ildfv.train import losses, networks
from ildfv.train.activations import Activations
from ildfv.train.checkpoint import SaveSchedule
from ildfv.train.trainer import TrainSettings, predict, train

FIT, VALIDATION, TEST = np.arange(40), np.arange(40, 50), np.arange(50, 60)
SETTINGS = TrainSettings(network="tiny", epochs=3, batch_size=8, learning_rate=2e-3)
OUTPUTS = ("model.safetensors", "model.json")


@pytest.fixture
def slices():
    return MemorySlices()


def run(folder, slices, settings=SETTINGS, *, fit=FIT, validation=VALIDATION):
    return train(settings, slices, fit, validation, folder, checkpoint_seconds=0)


def finished(folder):
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


@pytest.mark.slow
def test_training_learns_the_patterns(tmp_path, slices):
    settings = TrainSettings(network="tiny", epochs=12, batch_size=4, learning_rate=3e-3, dropout=0.2)
    result = run(tmp_path, slices, settings, fit=np.arange(50), validation=np.arange(50, 60))
    assert result.history[-1]["mean_auc"] > 0.9
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
    scores = predict(result.network, slices, np.arange(50, 60))
    assert ((scores > 0) == (slices.counts[50:] >= 6000)).mean() > 0.8


def test_equal_settings_give_equal_bytes(tmp_path, slices):
    run(tmp_path / "a", slices)
    torch.manual_seed(99)  # the result must not depend on the caller's random state
    run(tmp_path / "b", slices)
    assert finished(tmp_path / "a") == finished(tmp_path / "b")


def test_a_network_is_freed_without_the_garbage_collector(tmp_path, slices):
    """Training CNN-F takes 0.9 GB, which must be free before the next training."""
    gc.collect()
    gc.disable()
    try:
        result = run(tmp_path, slices, SETTINGS)
        activations = Activations(result.network, "conv1")
        activations(np.zeros((1, 3, 224, 224), np.uint8))
        predict(result.network, slices, TEST)
        network = weakref.ref(result.network)
        del result, activations
        assert network() is None
    finally:
        gc.enable()


def test_another_seed_gives_another_network(tmp_path, slices):
    run(tmp_path / "a", slices)
    run(tmp_path / "b", slices, TrainSettings(**{**vars(SETTINGS), "seed": 1}))
    assert finished(tmp_path / "a") != finished(tmp_path / "b")


@pytest.fixture(
    scope="module", params=[{}, {"select": "best", "optimizer": "sgd", "learning_rate": 0.02, "augment": True}]
)
def options(request, tmp_path_factory):
    """(settings, files of a training with them that was not interrupted)."""
    settings, folder = TrainSettings(**{**vars(SETTINGS), **request.param}), tmp_path_factory.mktemp("undisturbed")
    run(folder, MemorySlices(), settings)
    return settings, finished(folder)


# Before, at and after the end of an epoch, which reads for 5 steps and 1 validation.
@pytest.mark.parametrize("reads", [3, 8, 12, 17])
def test_an_interrupted_training_ends_with_the_same_bytes(tmp_path, reads, options):
    settings, undisturbed = options
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", Stopping(after=reads), settings)
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    run(tmp_path / "stopped", MemorySlices(), settings)
    assert finished(tmp_path / "stopped") == undisturbed
    assert not (tmp_path / "stopped" / "checkpoint").exists()


def test_a_resumed_training_starts_at_its_last_checkpoint(tmp_path, slices):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Stopping(after=10))
    notes = []

    class Notes:
        from ildfv.progress import SILENT

        task = staticmethod(SILENT.task)
        note = staticmethod(notes.append)

    train(SETTINGS, slices, FIT, VALIDATION, tmp_path, progress=Notes(), checkpoint_seconds=0)
    assert notes[0] == "Resuming after epoch 1 of 3, step 3 of 5 of the next epoch"
    assert [note.split(":")[0] for note in notes[1:]] == ["Epoch 2 of 3", "Epoch 3 of 3"]


def test_checkpoints_take_at_most_a_tenth_of_the_time(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    saves = SaveSchedule(20)

    def due(now):
        clock[0] = now
        return saves.due()

    assert [due(119.0), due(120.0)] == [False, True]
    with saves.saving():
        clock[0] = 125.0  # after five seconds of writing, the next checkpoint is due after fifty
    assert [due(174.0), due(175.0)] == [False, True]


def test_a_finished_training_is_not_trained_again(tmp_path, slices):
    first = run(tmp_path, slices)
    before = finished(tmp_path)
    fresh = MemorySlices()
    again = run(tmp_path, fresh)
    assert not fresh.touched
    assert again.ms_per_slice is None
    assert again.history == first.history
    assert finished(tmp_path) == before
    assert torch.equal(again.network.body.conv1.weight, first.network.body.conv1.weight)


def test_only_the_given_slices_are_read(tmp_path, slices):
    run(tmp_path, slices)
    assert slices.touched == set(FIT) | set(VALIDATION)


def test_test_slices_change_nothing(tmp_path, slices):
    run(tmp_path / "a", slices)
    changed = MemorySlices()
    changed.data[TEST] = 255 - changed.data[TEST]
    changed.counts[TEST] = 9999
    run(tmp_path / "b", changed)
    assert finished(tmp_path / "a") == finished(tmp_path / "b")


def test_validation_slices_do_not_change_the_weights(tmp_path, slices):
    first = run(tmp_path / "a", slices)
    changed = MemorySlices()
    changed.data[VALIDATION] //= 2
    changed.counts[VALIDATION] = changed.counts[VALIDATION][::-1]
    second = run(tmp_path / "b", changed)
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name]), name


def test_unlabelled_slices_are_not_read(tmp_path, slices):
    slices.counts[[2, 45]] = -1
    run(tmp_path, slices)
    assert slices.touched == (set(FIT) | set(VALIDATION)) - {2, 45}


def test_a_patient_in_fit_and_validation_is_refused(tmp_path, slices):
    with pytest.raises(InputError, match="must have no patient in common, got 1"):
        run(tmp_path, slices, validation=np.arange(39, 50))


@pytest.mark.parametrize(
    ("loss", "target"),
    [(loss, "presence") for loss in losses.NAMES if "logistic" in loss]
    + [(loss, "ramp") for loss in losses.NAMES if "logistic" not in loss]
    + [("l2", "counts"), ("l2", "step")],
)
def test_training_decreases_every_loss(tmp_path, slices, loss, target):
    settings = TrainSettings(network="tiny", loss=loss, target=target, epochs=4, batch_size=8, learning_rate=1e-3)
    history = run(tmp_path, slices, settings).history
    assert history[-1]["loss"] < history[0]["loss"]
    info = load_info(tmp_path)
    assert (info["pattern_weights"] is None) == (not loss.startswith("balanced-"))
    assert info["settings"]["loss"] == loss


def test_best_keeps_the_epoch_of_the_highest_validation_auc(tmp_path, slices):
    slices.counts[VALIDATION] = slices.counts[VALIDATION][::-1]  # with wrong labels, further training lowers the AUC
    settings = TrainSettings(**{**vars(SETTINGS), "select": "best", "learning_rate": 0.02, "epochs": 5})
    result = run(tmp_path, slices, settings)
    merits = [(row["mean_auc"], -row["validation_loss"]) for row in result.history]
    assert merits[result.epoch - 1] == max(merits)
    assert result.epoch < 5  # the last epoch is not the best
    scores = predict(networks.load(tmp_path), slices, VALIDATION)
    np.testing.assert_array_equal(scores, predict(result.network, slices, VALIDATION))
    truth = presence(slices.counts[VALIDATION])
    aucs = [roc_auc(truth[:, k], scores[:, k]) for k in range(4)]
    assert np.nanmean(aucs) == pytest.approx(merits[result.epoch - 1][0])  # they are the weights of that epoch


def test_undefined_auc_is_null(tmp_path, slices):
    slices.counts[VALIDATION, 2] = 0  # no validation slice with honeycomb
    row = run(tmp_path, slices).history[-1]
    assert row["validation_auc"]["honeycomb"] is None
    assert row["mean_auc"] == pytest.approx(np.mean([a for a in row["validation_auc"].values() if a is not None]))
    assert json.loads((tmp_path / "model.json").read_text())["history"][-1] == row


def test_a_folder_of_another_training_is_refused_and_not_changed(tmp_path, slices):
    run(tmp_path, slices)
    before = finished(tmp_path)
    with pytest.raises(InputError, match=r"contains a training run with epochs = 3, got 4"):
        run(tmp_path, slices, TrainSettings(**{**vars(SETTINGS), "epochs": 4}))
    with pytest.raises(InputError, match="contains a training run on other fit slices"):
        run(tmp_path, slices, fit=FIT[:-1])
    assert finished(tmp_path) == before


def test_divergence_is_an_error(tmp_path, slices):
    settings = TrainSettings(network="tiny", loss="l2", target="counts", optimizer="sgd", learning_rate=1e9, epochs=2)
    with pytest.raises(InputError, match=r"learning_rate must be smaller than 1e\+09: training diverged in epoch 1"):
        run(tmp_path, slices, settings)


def test_training_does_not_change_the_callers_random_state(tmp_path, slices):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tmp_path, slices)
    assert torch.equal(torch.rand(3), expected)


def test_scores_are_in_the_order_of_the_indices(slices):
    network = networks.build("tiny", seed=0)
    forward = predict(network, slices, [0, 5, 9], batch_size=2)
    assert forward.dtype == np.float32
    np.testing.assert_allclose(predict(network, slices, [9, 5, 0])[::-1], forward, rtol=1e-5, atol=1e-6)
    assert predict(network, slices, []).shape == (0, 4)


def test_a_resumed_training_logs_every_step_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Stopping(after=14))
    result = run(tmp_path, MemorySlices())
    log = EventAccumulator(str(tmp_path / "log"))
    log.Reload()
    # The two parts of the log are files whose order by name is not that of their times if both are of one second.
    assert sorted(event.step for event in log.Scalars("step/loss")) == list(range(15))
    losses = sorted((event.step, event.value) for event in log.Scalars("epoch/loss"))
    assert [value for _, value in losses] == pytest.approx([r["loss"] for r in result.history])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, 'loss must be one of logistic, .*, got "hinge"'),
        ({"loss": "l2"}, "target must be presence for a logistic loss"),
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        TrainSettings(**options)
