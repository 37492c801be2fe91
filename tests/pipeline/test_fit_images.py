"""From a folder of images, or of single DICOM slices, and a CSV of labels of one pattern to `fit --json`."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.patterns import PATTERNS
from ildfv.pipeline import recipes

PEOPLE, EACH = 9, 2


def chest(number, shown):
    """Grey levels of a slice in the window −1350 … 150 HU; with ground glass, a patch of each lung is denser."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:160, :160] / 160 - 0.5
    hu = np.where((x / 0.45) ** 2 + (y / 0.38) ** 2 < 1, 40.0, -1000.0)
    for centre in (-0.2, 0.2):
        hu[((x - centre) / 0.14) ** 2 + (y / 0.25) ** 2 < 1] = -870
        if shown:
            hu[((x - centre) / 0.08) ** 2 + ((y - 0.1) / 0.1) ** 2 < 1] = -640
    hu = hu + random.normal(0, 30, hu.shape) * (hu > -990)
    return np.clip((hu + 1350) / 1500 * 255, 0, 255).astype(np.uint8)


def run(*arguments):
    found = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.mark.slow
def test_jpeg_slices_with_one_labelled_pattern_are_fitted_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "FEW_SETTINGS", {"components": 4, "dimensions": 16, "passes": 1})
    monkeypatch.setattr(recipes, "network_available", lambda: False)  # another test covers the layers of the network
    rows = [["file", "patient", "ground glass"]]
    (tmp_path / "images").mkdir()
    for person in range(PEOPLE):
        for number in range(person * EACH, (person + 1) * EACH):
            Image.fromarray(chest(number, person % 2)).save(tmp_path / "images" / f"{number}.jpg", quality=92)
            rows.append([f"images/{number}.jpg", f"person {person}", person % 2 if number else ""])
    with (tmp_path / "slices.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    study = tmp_path / "study"
    prepared = run(
        "prepare", tmp_path / "images", "-w", study, "--grey", "-1350,150", "--labels", tmp_path / "slices.csv",
        "--workers", 1,
    )  # fmt: skip
    assert (prepared["patients"], prepared["labelled_slices"]) == (PEOPLE, PEOPLE * EACH - 1)
    run("folds", "-w", study, "--folds", 3)
    result = run("fit", "-w", study)
    assert result["recipe"] == "few"
    assert result["slices"] == PEOPLE * EACH - 1
    fisher = [name for name in result["systems"] if name.startswith("fv-")]
    assert len(fisher) >= 2
    for name in (*fisher, "baseline-haa"):
        auc = result["systems"][name]["auc"]
        assert set(auc) == set(PATTERNS)
        assert auc["ground glass"] > 0.9
        assert all(auc[other] is None for other in PATTERNS if other != "ground glass")
