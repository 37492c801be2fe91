"""The GPU benchmarks, run without a GPU: a failure or an interruption does not lose the other results."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
BENCH = Path(__file__).resolve().parents[2] / "bench"


def load(name, monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    spec = importlib.util.spec_from_file_location(f"bench_module_{name}", BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_every_row_is_on_disk_at_once(tmp_path, monkeypatch, capsys):
    path = tmp_path / "found.json"
    results = load("rows", monkeypatch).Results(str(path), {"device": "none"})
    assert json.loads(path.read_text()) == {"device": "none", "rows": []}
    results.add(who="first", seconds=1.0)
    with results.contestant(who="second"):
        raise RuntimeError("out of\nmemory")
    with results.contestant(who="third"):
        results.add(who="third", seconds=2.0)
        assert len(json.loads(path.read_text())["rows"]) == 3
    rows = json.loads(path.read_text())["rows"]
    assert rows[1] == {"who": "second", "error": "RuntimeError: out of memory"}
    assert [row["who"] for row in rows] == ["first", "second", "third"]
    assert "RuntimeError" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt), results.contestant(who="fourth"):
        raise KeyboardInterrupt
    assert [one.name for one in tmp_path.iterdir()] == ["found.json"]


@pytest.fixture
def bench_cuda(monkeypatch):
    """bench_cuda on the CPU with one small shape; all its times are 1 s on the device and 2 s per call."""
    module = load("bench_cuda", monkeypatch)
    monkeypatch.setattr(module, "SHAPES", {"small": (10, 3, 4, 8)})
    monkeypatch.setattr(module, "draws", lambda w, means, v, b, n, seed: torch.zeros(b, n, means.shape[1]))
    monkeypatch.setattr(
        module, "on_device", lambda *given: tuple(torch.as_tensor(a, dtype=getattr(torch, given[3])) for a in given[:3])
    )
    monkeypatch.setattr(module, "check", lambda *given: None)
    monkeypatch.setattr(module, "device_of", lambda a: SimpleNamespace(shared_limit=99 << 10))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(module.moments, "moments", lambda x, *mixture: x)
    monkeypatch.setattr(module, "median_time", lambda function, inputs, seconds: (function(inputs[0]), 2.0)[1])
    monkeypatch.setattr(module, "device_time", lambda function, inputs, seconds: (function(inputs[0]), 1.0)[1])
    return module


def test_a_failing_contestant_loses_no_other_row_and_compilers_are_reset(bench_cuda, monkeypatch, tmp_path, capsys):
    events = []
    monkeypatch.setattr(torch._dynamo, "reset", lambda: events.append("reset"))

    def compiled(function, **options):
        events.append(options)

        def run(x):
            raise RuntimeError("the compiler failed")

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    found = {"copy_bandwidth": 1e12, "vector_rate_float32": 1e13}
    results = load("rows", monkeypatch).Results(str(tmp_path / "x.json"), found)
    given = SimpleNamespace(seconds=0.1, variants=True, only_ildfv=False)
    bench_cuda.measure("small", "peaky", 3.0, results, given)
    assert events == ["reset", {"dynamic": False}] * 2
    rows = {row["who"]: row for row in json.loads((tmp_path / "x.json").read_text())["rows"]}
    failed = {who for who, row in rows.items() if "error" in row}
    assert failed == {"torch GEMM, compiled", "torch GEMM, compiled, TF32"}
    assert {"ildfv", "ildfv, channel-first", "ildfv, wide", "torch GEMM", "torch GEMM, TF32"} <= rows.keys() - failed
    assert rows["ildfv"]["seconds_per_slice"] == 1 / 8
    assert rows["ildfv"]["call_seconds_per_slice"] == 2 / 8
    assert rows["ildfv"]["timer"] == "profiler"
    monkeypatch.setattr(bench_cuda, "device_time", lambda function, inputs, seconds: None)  # as without CUPTI
    given.only_ildfv, given.variants = True, False
    bench_cuda.measure("small", "soft", 0.2, results, given)
    row = next(row for row in results.found["rows"] if (row["posteriors"], row["who"]) == ("soft", "ildfv"))
    assert (row["timer"], row["seconds_per_slice"]) == ("events", 2 / 8)
    about = {"device": "d", "torch": "t", "way": "nvcc", "date": "today", "matrix_rate_float32": 1e13}
    capsys.readouterr()
    bench_cuda.show({**about, **results.found})
    assert "RuntimeError: the compiler failed" in capsys.readouterr().out


def test_the_alternatives_in_float32_agree_with_the_specification(monkeypatch):
    bench_cuda = load("bench_cuda", monkeypatch)
    weights, means, variances = bench_cuda.mixture(4, 3, 1.0)
    from ildfv.kernels import reference

    x = np.random.default_rng(0).normal(size=(2, 50, 3))
    found = bench_cuda.gemm(torch, *(torch.from_numpy(a) for a in (weights, means, variances)))(torch.from_numpy(x))
    for a, e in zip(found, reference.moments(x, weights, means, variances), strict=True):
        assert np.linalg.norm(a.numpy() - e) / np.linalg.norm(e) < 1e-9


# ---- gpu.sh with a stub of Python that only records its arguments

PYTHON = r"""#!/bin/bash
echo "$@" >> "$LOG"
out=
for ((i = 1; i < $#; ++i)); do [ "${!i}" = --out ] && { j=$((i + 1)); out=${!j}; }; done
case "$*" in
    *get_device_capability*) echo 90 ;;
    *"$FAILS"*) echo "it failed"; exit 3 ;;
esac
[ -n "$out" ] && echo '{"rows": [1]}' > "$out"
case "$*" in *"$HANGS"*)
    trap 'echo interrupted by INT; exit 130' INT
    touch "$LOG.hangs"
    for ((i = 0; i < 600; ++i)); do sleep 0.1; done ;;
esac
exit 0
"""


@pytest.fixture
def script(tmp_path):
    """Starts a copy of gpu.sh; steps whose command contains `fails` fail, those with `hangs` take a minute."""
    if shutil.which("bash") is None or shutil.which("timeout") is None:
        pytest.skip("needs bash and timeout")
    (tmp_path / "bench").mkdir()
    shutil.copy(BENCH / "gpu.sh", tmp_path / "bench")
    python = tmp_path / "python"
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    folder = os.pathsep.join(path for path in os.environ["PATH"].split(os.pathsep) if "cuda" not in path)

    def start(fails="nothing at all", hangs="nothing at all", budget=0):
        environment = {**os.environ, "PYTHON": str(python), "LOG": str(tmp_path / "log"), "PATH": folder}
        environment |= {"FAILS": fails, "HANGS": hangs, "BUDGET": str(budget)}
        command = ["bash", str(tmp_path / "bench" / "gpu.sh"), str(tmp_path / "results")]
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore SIGINT
        )

    return start


def steps(tmp_path):
    return [line.partition(":")[0] for line in (tmp_path / "results" / "gpu-steps.txt").read_text().splitlines()]


ORDER = ["build", "selftest", "tests", "device", "encode-24000", "encode-240000", "compiled-tests", "bench", "network"]


def test_tests_device_times_and_encoding_come_first(script, tmp_path):
    process = script()
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert steps(tmp_path)[: len(ORDER)] == ORDER
    calls = (tmp_path / "log").read_text()
    places = [calls.index(part) for part in ("test_cuda_gpu", "--only-ildfv", "24000", "240000", "--variants")]
    assert places == sorted(places)
    assert all(f"{name}: exit code 0" in said for name in ORDER)


def test_a_step_that_fails_does_not_end_the_others(script, tmp_path):
    process = script(fails="test_cuda_gpu")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 3
    assert "tests: exit code 3" in said
    assert steps(tmp_path)[: len(ORDER)] == ORDER
    assert "it failed" in (tmp_path / "results" / "gpu-tests.txt").read_text()


def test_without_a_build_nothing_else_runs(script, tmp_path):
    process = script(fails="pip install")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 3
    assert steps(tmp_path) == ["build"], said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_ends_the_step_and_keeps_all_files(script, tmp_path, number):
    process = script(hangs="--slices 24000")
    until = time.monotonic() + 300
    while not (tmp_path / "log.hangs").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert steps(tmp_path)[:4] == ORDER[:4]
    assert "during encode-24000" in said
    results = tmp_path / "results"
    assert "interrupted by INT" in (results / "gpu-encode-24000.txt").read_text()  # gpu.sh wrote this line
    assert len(list(results.glob("gpu-device-*.json"))) == len(list(results.glob("gpu-encode-24000-*.json"))) == 1


@pytest.mark.slow
def test_steps_end_when_the_budget_is_used_up(script, tmp_path):
    process = script(hangs="--slices 24000", budget=6)
    said, _ = process.communicate(timeout=300)
    assert "encode-24000: exit code" in said
    assert "network: skipped, the budget of 6 s is used up" in said
    assert process.returncode != 0
