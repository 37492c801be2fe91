"""The scripts in examples/ run on small inputs, and each of their cells is complete, so that they become notebooks."""

import os
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
WITH_CELLS = [path for path in sorted(EXAMPLES.glob("*.py")) if "\n# %%" in path.read_text(encoding="utf-8")]
PATTERNS = ("ground glass", "reticular", "honeycomb", "emphysema")


def main_of(name: str):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_there_are_six_examples_with_cells():
    assert len(WITH_CELLS) == 6
    assert "examples" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8").split()
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in page] == []


@pytest.mark.parametrize("path", WITH_CELLS, ids=lambda path: path.stem)
def test_every_cell_is_complete(path):
    cells = re.split(r"^# %%(.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for kind, text in zip(cells[::2], cells[1::2], strict=True):
        if "[markdown]" in kind:
            assert all(line.startswith("#") for line in text.strip().splitlines())
        else:
            compile(text, path.name, "exec")


def test_notebooks_are_made_of_the_scripts(tmp_path):
    jupytext = pytest.importorskip("jupytext")
    for path in WITH_CELLS:
        notebook = jupytext.read(path, fmt="py:percent")
        kinds = [cell.cell_type for cell in notebook.cells]
        assert kinds[0] == "markdown"
        assert notebook.cells[0].source.startswith("# ")
        assert kinds.count("code") >= 3
        jupytext.write(notebook, tmp_path / f"{path.stem}.ipynb")


def test_torchrun_example_in_one_process(capsys):
    assert max(main_of("torchrun_two_processes")().values()) == 0
    assert "1 process," in capsys.readouterr().out


@pytest.mark.slow
def test_torchrun_example_in_two_processes():
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*torchrun, EXAMPLES / "torchrun_two_processes.py"], capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    assert "2 processes, 8 batches: the models are equal in all processes" in ended.stdout


@pytest.mark.slow
def test_textures_are_classified():
    pytest.importorskip("skimage")
    found = main_of("texture_classification")(6)
    assert found["Fisher vectors"] > 0.9


@pytest.mark.slow
def test_own_encoder_is_fitted_and_registered():
    pytest.importorskip("skimage")
    from ildfv.pipeline.encoders import ENCODERS

    try:
        found = main_of("custom_encoder")(6)
        assert found["covariance (this file)"] > 0.8
        assert "covariance" in ENCODERS
    finally:
        ENCODERS.pop("covariance", None)


@pytest.mark.slow
def test_contribution_map_sums_to_the_score_and_separates_the_halves(tmp_path):
    pytest.importorskip("skimage")
    found = main_of("contribution_map")(tmp_path / "map.png")
    assert np.isclose(found["sum"], found["score"], rtol=1e-4)
    assert found["left"] > 0 > found["right"]
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_fisher_layer_is_trained_on_a_network_of_timm():
    if find_spec("timm") is None:  # importing it here would fail with another build of torchvision, see the example
        pytest.skip("timm is not installed")
    pytest.importorskip("skimage")
    found = main_of("fisher_layer_timm")(steps=12)
    assert found["last"] < found["first"]
    assert found["accuracy"] > 0.5


@pytest.mark.slow
def test_a_study_of_phantoms_ends_with_a_prediction(tmp_path):
    found = main_of("phantom_study")(tmp_path, patients=6, slices=4)
    assert tuple(found["results"]["per_pattern"]) == PATTERNS
    assert found["answer"]["predictor"]["data"] == "phantom"
    assert (tmp_path / "answer" / "prediction.html").exists()
