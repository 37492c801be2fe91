"""The TensorBoard log contains every point once, and a full disk is an error."""

import errno

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from ildfv.train.tensorboard import tensorboard_log

ROW = {"loss": 0.5, "validation_loss": None, "mean_auc": 0.75, "validation_auc": {"reticular": 0.8, "emphysema": None}}


def read(folder) -> dict[str, list[tuple[int, float]]]:
    log = EventAccumulator(str(folder / "log"))
    log.Reload()
    return {tag: [(e.step, e.value) for e in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


def test_defined_values_are_logged_once_after_a_resume(tmp_path):
    with tensorboard_log(tmp_path, 0) as log:
        log(ROW, [3.0, 2.0])
        log(ROW, [9.0, 9.0])  # of an epoch that is not in the last checkpoint
    with tensorboard_log(tmp_path, 2) as log:
        log(ROW, [1.0, 0.5])
    found = read(tmp_path)
    assert found["step/loss"] == [(0, 3.0), (1, 2.0), (2, 1.0), (3, 0.5)]
    assert found["epoch/loss"] == [(1, 0.5), (3, 0.5)]
    assert found["epoch/auc/reticular"] == [(1, pytest.approx(0.8)), (3, pytest.approx(0.8))]
    assert not {"epoch/validation_loss", "epoch/auc/emphysema"} & set(found)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("method", ["write", "flush"])
def test_a_full_disk_is_raised_at_the_end_of_the_epoch(tmp_path, monkeypatch, method):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def train():
        with tensorboard_log(tmp_path, 0) as log:
            log(ROW, [3.0])
            monkeypatch.setattr(RecordWriter, method, full)
            with pytest.raises(OSError, match="No space left"):
                log(ROW, [2.0])

    with pytest.raises(OSError, match="No space left"):  # raised again when the writer is closed
        train()
