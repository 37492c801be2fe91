"""The example scripts run; the protocols of published comparisons divide miniatures as their authors do."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.texture import encoder as encoder_module

EXAMPLES = Path(__file__).parents[2] / "examples"


def write(path: Path, seed: int, period: float) -> None:
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    stripes = np.sin(np.arange(24) * period)[:, None] + 0.2 * np.random.default_rng(seed).normal(size=(24, 24))
    image.fromarray((128 + 50 * stripes).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def example(monkeypatch):
    monkeypatch.setattr(encoder_module, "SAMPLE", 500)
    return runpy.run_path(str(EXAMPLES / "radam_protocol.py"))


def test_kth_tips2_is_trained_on_one_sample_of_each_class(example, tmp_path, capsys):
    for c, period in (("cork", 0.5), ("wool", 1.5)):
        for s, sample in enumerate("abcd"):
            for i in range(2):
                write(tmp_path / c / f"sample_{sample}" / f"{i}.png", 10 * s + i, period)
    result = example["main"](["kth-tips2", str(tmp_path), "--backbone", "filters", "--components", "2"])
    assert len(result["splits"]) == 4
    assert result["mean"] > 90
    assert "published, RADAM-light: 84.8 %" in capsys.readouterr().out


def test_dtd_is_divided_by_its_published_lists(example, tmp_path):
    names = [f"{c}/{c}_{i}.png" for c in ("banded", "woven") for i in range(3)]
    for i, name in enumerate(names):
        write(tmp_path / "images" / name, i, 0.5 if name.startswith("b") else 1.5)
    (tmp_path / "labels").mkdir()
    for number in range(1, 11):
        for part, place in (("train", 0), ("val", 1), ("test", 2)):
            (tmp_path / "labels" / f"{part}{number}.txt").write_text("\n".join(names[place::3]) + "\n")
    collection = example["read_layout"]("dtd", tmp_path)
    found = list(example["splits"]("dtd", tmp_path, collection, 1))
    assert len(found) == 10
    assert [collection.paths[i].name for i in found[0][1]] == ["banded_2.png", "woven_2.png"]
    assert len(found[0][0]) == 4
    (tmp_path / "labels" / "val3.txt").unlink()
    with pytest.raises(InputError, match=r"val3.txt must exist: it is part of the archive of DTD"):
        list(example["splits"]("dtd", tmp_path, collection, 1))


@pytest.mark.slow
def test_a_network_is_trained_through_the_fisher_layer():
    pytest.importorskip("torch")
    pytest.importorskip("skimage")
    found = runpy.run_path(str(EXAMPLES / "finetune_fisher_layer.py"))["main"]()
    assert found["Fisher layer, trained"] > 0.45  # chance: 0.33
