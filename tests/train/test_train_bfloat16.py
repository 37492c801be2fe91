"""Training in bfloat16 is an option that is recorded, gives equal bits, and needs a CPU that has it."""

import json

import numpy as np
import pytest
from train_support import MemorySlices

from ildfv.errors import InputError
from ildfv.train import precision
from ildfv.train.trainer import TrainSettings, train

SETTINGS = TrainSettings(network="tiny", epochs=3, batch_size=8, learning_rate=2e-3, bfloat16=True)
FULL = TrainSettings(network="tiny", epochs=3, batch_size=8, learning_rate=2e-3)
needs_bfloat16 = pytest.mark.skipif(not precision.multiplies_bfloat16(), reason="this CPU has no bfloat16 products")


def run(folder, settings=SETTINGS):
    return train(settings, MemorySlices(), np.arange(40), np.arange(40, 50), folder)


@needs_bfloat16
def test_equal_runs_give_equal_bytes_and_the_option_is_recorded(tmp_path):
    for name in "ab":
        run(tmp_path / name)
    a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert a == b
    info = json.loads((tmp_path / "a" / "model.json").read_text())
    assert info["settings"]["bfloat16"] is True
    assert info["identity"]["settings"]["bfloat16"] is True


@needs_bfloat16
def test_losses_are_close_to_those_of_float32(tmp_path):
    half, full = run(tmp_path / "half"), run(tmp_path / "full", FULL)
    for one, other in zip(half.history, full.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.05)
        assert one["loss"] != other["loss"]


@needs_bfloat16
def test_a_float32_training_is_not_continued_in_bfloat16(tmp_path):
    run(tmp_path, FULL)
    with pytest.raises(InputError, match="bfloat16 = False, got True"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse2", True),
        ("flags\t\t: fpu amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("model name\t: avx512_bf16", False),
    ],
)
def test_the_processors_flags_decide(tmp_path, monkeypatch, line, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
    assert precision.multiplies_bfloat16() is expected


def test_a_cpu_without_bfloat16_is_an_error_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "none")
    with pytest.raises(InputError, match="bfloat16 must be omitted on this CPU, for which no products in bfloat16"):
        run(tmp_path / "model")
