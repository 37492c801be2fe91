"""Training in separate processes: killed at random moments, and on several ranks."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ildfv.store.models import load_model

HERE = Path(__file__).parent

PREPARE = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
import torch.utils.tensorboard
from train_support import MemorySlices
from ildfv import distributed
from ildfv.train.trainer import TrainSettings, train
folder, slices = Path(sys.argv[1]), MemorySlices()
"""

KILLING = (
    PREPARE
    + """
settings = TrainSettings(network="tiny", epochs=6, batch_size=4, learning_rate=2e-3, augment=True, patience=2)

def child(folder):
    process = os.fork()  # nothing has run in parallel yet, so a fork is safe and saves the imports
    if process == 0:
        train(settings, slices, range(40), range(40, 60), folder, checkpoint_seconds=0)
        os._exit(0)
    return process

started = time.monotonic()
assert os.waitpid(child(folder / "undisturbed"), 0)[1] == 0
whole, draw, kills = time.monotonic() - started, random.Random(0), 0
while kills < 12:
    process = child(folder / "killed")
    time.sleep(draw.uniform(0, whole / 3))
    if os.waitpid(process, os.WNOHANG)[0]:  # it finished before the kill: start over
        (folder / "killed" / "model.safetensors").unlink()
        continue
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    kills += 1
assert os.waitpid(child(folder / "killed"), 0)[1] == 0
"""
)

SHARED = (
    PREPARE
    + """
class Stopping(MemorySlices):
    left = 17  # reads: grey levels, ten steps, validation, and then into the second epoch

    def images(self, indices):
        self.left -= not (len(indices) and min(indices) >= 40)  # each validation batch is read by one rank
        if self.left < 0:
            raise KeyboardInterrupt
        return super().images(indices)

distributed.start()
if distributed.size() > 1:
    folder = folder / f"rank-{distributed.rank()}"  # as on machines without a common disk
slices.counts[40:] = slices.counts[40:][::-1]  # wrong labels: the AUC of the second epoch is lower
settings = TrainSettings(network="tiny", loss="balanced-logistic", epochs=4, batch_size=2, augment=True, patience=1)
if distributed.size() > 1:
    try:
        stopping = Stopping()
        stopping.counts = slices.counts
        train(settings, stopping, range(20), range(40, 60), folder, checkpoint_seconds=0)
        raise AssertionError("not stopped")
    except KeyboardInterrupt:
        assert (folder / "checkpoint").exists() == distributed.is_main()
result = train(settings, slices, range(20), range(40, 60), folder, checkpoint_seconds=0)
assert [row["epoch"] for row in result.history] == [1, 2]
assert result.epoch == 1
distributed.stop()
"""
)


def python(code, folder, **environment):
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_bytes(tmp_path):
    process = python(KILLING, tmp_path)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    left = {path.name for path in (tmp_path / "killed").iterdir()} - {".lock", "log"}
    assert left == {"model.safetensors", "model.json"}


@pytest.mark.slow
def test_ranks_stopped_and_resumed_train_the_network_that_one_process_trains(tmp_path):
    """With two slices per step on three ranks, one rank has no slice in each step. Only rank 0 has the checkpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    processes = [python(SHARED, tmp_path / "three", RANK=str(rank), **common) for rank in range(3)]
    processes.append(python(SHARED, tmp_path / "one"))
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    (one, info_one), (three, info_three) = load_model(tmp_path / "one"), load_model(tmp_path / "three" / "rank-0")
    for name in one:
        np.testing.assert_array_equal(three[name], one[name], err_msg=name)
    assert info_three["identity"] == info_one["identity"]
    assert info_three["epoch"] == info_one["epoch"]
    losses_one, losses_three = ([row["loss"] for row in info["history"]] for info in (info_one, info_three))
    assert losses_three == losses_one
