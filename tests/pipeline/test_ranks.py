"""The result does not depend on the number of ranks, nor on a rank that is killed and restarted."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ildfv.distributed import LOST
from ildfv.pipeline.encodings import Encoding
from ildfv.store.lock import writing
from ildfv.store.models import load_info, load_model

pytestmark = pytest.mark.slow  # every test starts several ranks

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    "ILDFV_TIMEOUT_MINUTES": "0.5",
    "OMP_NUM_THREADS": "1",
}


def launched(ranks: int, *arguments, restarts: int = 0, script: str = "ranks.py") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command += [f"--max-restarts={restarts}", str(HERE / script), *map(str, arguments)]
    return subprocess.run(command, cwd=HERE, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)


def torchrun(*arguments, **options) -> subprocess.CompletedProcess:
    ended = launched(*arguments, **options)
    said = [line for line in ended.stderr.splitlines() if line.startswith("[rank")]
    assert ended.returncode == 0, "\n".join(said[-30:]) or ended.stderr[-3000:]
    return ended


@pytest.fixture(scope="module")
def alone(original, tmp_path_factory):
    """The result of one process without torchrun."""
    root = Path(shutil.copytree(original, tmp_path_factory.mktemp("alone") / "workspace"))
    subprocess.run([sys.executable, str(HERE / "ranks.py"), str(root)], cwd=HERE, check=True, env=ENVIRONMENT)
    return root


def models(root: Path) -> dict[str, np.ndarray]:
    found = {}
    for file in sorted(root.glob("encodings/**/model.safetensors")):
        tensors, _ = load_model(file.parent)
        found |= {f"{file.parent.relative_to(root)}/{name}": tensor for name, tensor in tensors.items()}
    return found


def assert_same(one: Path, two: Path) -> None:
    """Models agree to 1e-9 of their size, scores and projections to the precision of float32."""
    a, b = models(one), models(two)
    assert a.keys() == b.keys()
    for name in a:
        scale = np.abs(a[name]).max(initial=1e-300)
        # Standard errors come from inverse matrices and are a hundred times less precise, which suffices.
        tolerance = 1e-7 if "standard_errors" in name else 1e-9
        np.testing.assert_allclose(b[name], a[name], rtol=0, atol=tolerance * scale, err_msg=name)
    for layer in ("conv1", "fc6"):
        folder = Path("encodings") / layer / "fold-0"
        np.testing.assert_allclose(
            Encoding(two / folder).projections(), Encoding(one / folder).projections(), atol=1e-5
        )
        scores = Path("results") / f"fv-{layer}-fold-0.csv"
        np.testing.assert_allclose(
            *(
                np.genfromtxt(root / scores, delimiter=",", skip_header=1, usecols=(0, 5, 6, 7, 8))
                for root in (two, one)
            ),
            atol=1e-4,
        )


@pytest.mark.parametrize("ranks", [2, 3])
def test_models_do_not_depend_on_the_number_of_ranks(root, alone, ranks):
    torchrun(ranks, root)
    assert_same(alone, root)


def test_stepwise_steps_do_not_depend_on_the_number_of_ranks(root, original, tmp_path):
    one = Path(shutil.copytree(original, tmp_path / "one"))
    subprocess.run(
        [sys.executable, str(HERE / "ranks.py"), str(one), "stepwise"], cwd=HERE, check=True, env=ENVIRONMENT
    )
    torchrun(3, root, "stepwise")
    info = load_info(root / "encodings/conv1/fold-0/mixture")
    assert info["learned"]["n_steps_"] == 3 * 4  # the last of four passes is an exact pass without steps
    assert_same(one, root)


def test_parts_written_from_the_same_models_are_byte_identical(root, alone):
    for layer in ("conv1", "fc6"):
        folder = Path("encodings") / layer / "fold-0"
        for model in ("mixture", "pca"):
            shutil.copytree(alone / folder / model, root / folder / model)
        shutil.copy(alone / folder / "claim.json", root / folder)
    torchrun(3, root)
    parts = sorted(path.relative_to(alone) for path in alone.glob("encodings/**/*.h5"))
    assert len(parts) > 20
    assert [str(p) for p in parts if (root / p).read_bytes() != (alone / p).read_bytes()] == []


def test_a_killed_rank_is_restarted_with_the_same_result(root, alone, tmp_path):
    torchrun(2, root, tmp_path / "died", restarts=2)
    assert (tmp_path / "died").exists()
    assert_same(alone, root)


def test_if_rank_0_cannot_write_every_rank_prints_one_line(root):
    with writing(root / "encodings/conv1/fold-0"):
        ended = launched(2, "encode", "--layer", "conv1", "-k", 4, "--workspace", root, script="command.py")
    assert ended.returncode == 1
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert "is locked by process" in errors[0]
    assert errors[1:] == [f"error: rank 1: {LOST}"]
    assert [line for line in ended.stderr.splitlines() if line.startswith("[rank")] == []  # of a traceback


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_no_thread_of_a_process_group_outlives_it():
    """Such a thread sometimes aborts because it frees a tensor while Python exits."""
    assert torchrun(2, script="leaving.py").stdout.count("alone") == 2


@pytest.mark.parametrize(
    ("network", "shards", "most"),  # the last of two ranks with one shard, and of three with two, is idle
    [("small", 1, 2), ("small", 2, 3), ("small-normed", 2, 2)],
)
def test_the_network_does_not_depend_on_the_number_of_ranks(original, tmp_path, network, shards, most):
    options = ("train", "--network", network, "--epochs", 2, "--batch-size", 5, "--name", "n", "--json")
    found = []
    for ranks in range(1, most + 1):
        copy = Path(shutil.copytree(original, tmp_path / str(ranks)))
        said = torchrun(ranks, *options, "--shards", shards, "--workspace", copy, script="command.py").stderr
        assert ("ranks are idle" in said) == (ranks > shards)
        files = ("models/n/fold-0/model.safetensors", "results/cnn-n-fold-0.csv")
        found.append([(copy / file).read_bytes() for file in files])
    assert all(one == found[0] for one in found)


def test_the_commands_run_under_torchrun_and_print_once(root):
    shutil.rmtree(root / "models")
    ended = {}
    for name, options in {
        "train": ("--network", "small", "--epochs", 1, "--batch-size", 5),
        "encode": ("--layer", "conv1", "-k", 4, "--dimensions", 10, "--passes", 2),
        "regress": (),
    }.items():
        ended[name] = torchrun(2, name, *options, "--json", "--workspace", root, script="command.py")
    for name, one in ended.items():
        assert json.loads(one.stdout), name  # one document: the other rank prints nothing
    assert ended["regress"].stderr.count("conv1: regression, 1 of 2 shares: done") == 1
    events = [json.loads(line) for line in (root / "events.jsonl").read_text().splitlines()]
    started = [event["task"] for event in events if event["event"] == "start"]
    assert started.count("conv1: Fisher vectors") == 1
    assert started.count("Training small") == 1
    assert (root / "models/small/fold-0/model.safetensors").exists()
    results = {path.stem for path in (root / "results").glob("*.json")}
    assert results == {"cnn-small-fold-0", "fv-conv1-fold-0"}
