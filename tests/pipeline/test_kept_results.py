"""A repeated or resumed `fit` keeps the finished results whose settings and inputs are unchanged."""

import re
from functools import partial

import pytest
import tomli_w
from test_baselines import make
from test_recipes import TINY, breathing

from ildfv.errors import NewerVersionError
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
        run.notes = progress.found
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
    unusable = [one for one in fit.notes if "cannot be used, so it is computed again" in one]
    assert len(unusable) == 2  # a result that is missing as a whole is not mentioned
    assert any("fv-filters-lung-logistic-fold-3 cannot" in one and TENSORS in one for one in unusable)


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


def corrupt(path):
    path.write_bytes(path.read_bytes()[:-9])


def changed(path):
    path.with_suffix(".csv").write_text("slice\n")


def earlier(path):
    write_checksummed(path, read_checksummed(path) | {"version": 1})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (corrupt, "baseline-p15-fold-0.json must be JSON"),
        (changed, "baseline-p15-fold-0.csv must contain the scores that .* but it is missing or was changed$"),
        (earlier, "baseline-p15-fold-0.json must have version 2, got 1"),
    ],
)
def test_a_stored_result_that_cannot_be_used_is_named_with_the_reason(fit, damage, reason):
    score_baselines(fit.root, fold=0)
    path = fit.root / "results" / "baseline-p15-fold-0.json"
    before = sha256(path)
    damage(path)
    progress = Notes()
    kept = Kept(progress)
    score_baselines(fit.root, fold=0, kept=kept)
    assert (len(kept.kept), kept.computed) == (6, ["baseline-p15-fold-0"])
    (note,) = progress.found
    assert re.match("the stored result baseline-p15-fold-0 cannot be used, so it is computed again: ", note)
    assert re.search(reason, note)
    assert sha256(path) == before


def test_a_missing_result_is_computed_without_a_note(fit):
    progress = Notes()
    score_baselines(fit.root, fold=0, kept=Kept(progress))
    assert progress.found == []


@pytest.mark.slow
def test_a_result_of_a_newer_version_is_not_replaced(fit):
    before, _ = fit()
    path = next((fit.root / "results").glob("fv-*.json"))
    write_checksummed(path, read_checksummed(path) | {"version": 99})
    changed = sha256(path)
    with pytest.raises(NewerVersionError, match=r"got 99, which a newer version of ildfv wrote: update ildfv"):
        fit()
    assert {one.name: sha256(one) for one in path.parent.iterdir()} == before | {path.name: changed}
