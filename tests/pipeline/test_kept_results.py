"""A repeated or resumed `fit` keeps the finished results whose settings and inputs are unchanged."""

from functools import partial

import pytest
import tomli_w
from test_baselines import make
from test_recipes import TINY, breathing

from ildfv.parsing import read_toml
from ildfv.pipeline import heads, recipes
from ildfv.pipeline.baselines import score_baselines
from ildfv.pipeline.kept import Kept
from ildfv.pipeline.workspace import SETTINGS
from ildfv.progress import Silent
from ildfv.store.atomic import sha256
from ildfv.store.checksummed import read_checksummed, write_checksummed
from ildfv.store.models import TENSORS


class Notes(Silent):
    def __init__(self):
        self.found = []

    def note(self, text):
        self.found.append(text)


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Fits the recipe "few" with one layer, and returns (checksums of all results, the last note)."""
    root = make(tmp_path / "study", breathing).root
    monkeypatch.setattr(recipes, "FEW_LAYERS", ("filters",))
    monkeypatch.setattr(recipes, "FEW_SETTINGS", TINY)
    monkeypatch.setattr(recipes, "network_available", lambda: False)

    def run():
        progress = Notes()
        recipes.fit(root, recipe="few", device="cpu", progress=progress)
        return {path.name: sha256(path) for path in (root / "results").iterdir()}, progress.found[-1]

    run.root = root
    return run


@pytest.mark.slow
def test_a_second_fit_computes_no_result_again(fit, monkeypatch):
    first, note = fit()
    assert "kept" not in note
    monkeypatch.setattr(heads, "fit_on_encodings", partial(pytest.fail, "a regression was fitted again"))
    monkeypatch.setattr("ildfv.pipeline.baselines.fit_baseline", partial(pytest.fail, "a baseline was fitted again"))
    again, note = fit()
    assert again == first
    number = len(list((fit.root / "results").glob("*.json")))
    assert note == f"all {number} results were kept: their settings and inputs are unchanged"


@pytest.mark.slow
def test_an_interrupted_fit_is_resumed(fit, monkeypatch):
    whole, _ = fit()
    names = ["fv-filters-lung-ridge-fold-2.json", "baseline-p15-fold-1.csv"]
    for name in names:
        (fit.root / "results" / name).unlink()
    tensors = fit.root / "encodings" / "filters-lung" / "fold-3" / "regression-logistic" / TENSORS
    tensors.write_bytes(tensors.read_bytes()[:-1])
    resumed, note = fit()
    assert resumed == whole
    number = len(list((fit.root / "results").glob("*.json")))
    assert note.startswith(f"{number - 3} of {number} results were kept")


@pytest.mark.slow
def test_results_of_other_settings_are_computed_again(fit):
    first, _ = fit()
    path = fit.root / SETTINGS
    path.write_text(tomli_w.dumps(read_toml(path) | {"threshold": 50}))
    changed, note = fit()
    assert "kept" not in note
    assert set(changed) == set(first)
    assert all(changed[name] != first[name] for name in first if name.endswith(".json"))


def test_a_result_without_a_fingerprint_is_computed_again(fit):
    score_baselines(fit.root, fold=0)
    kept = Kept()
    score_baselines(fit.root, fold=0, kept=kept)
    assert (len(kept.kept), kept.computed) == (7, [])
    path = fit.root / "results" / "baseline-p15-fold-0.json"
    content = read_checksummed(path)
    del content["settings"]["fingerprint"]
    write_checksummed(path, content)
    kept = Kept()
    score_baselines(fit.root, fold=0, kept=kept)
    assert kept.computed == ["baseline-p15-fold-0"]
