"""The page and the checklist describe the preset of the results shown, not that of the last command."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY

from ildfv.experiments.checklist import checklist
from ildfv.experiments.context import Context
from ildfv.experiments.documents import ExperimentDocument
from ildfv.experiments.preset_views import by_preset, documents
from ildfv.experiments.run import run_experiments

pytestmark = pytest.mark.slow

LARGE = replace(TINY, name="large", run=None, train={"epochs": 2, "batch_size": 8}, resamples=70)


@pytest.fixture
def root(made, tmp_path):
    root = Path(shutil.copytree(made, tmp_path / "w"))
    run_experiments(["curves", "examples"], preset=replace(TINY, run=1), workspace=root, device="cpu")
    return root


def settings(page: str) -> dict[str, str]:
    """Caption of each table of settings → its text."""
    found = re.findall(r"<caption>(Settings: [^<]*)</caption>(.*?)</table>", page, flags=re.S)
    return {caption: " ".join(re.sub("<[^>]+>", " ", table).split()) for caption, table in found}


def test_the_preset_shown_is_that_of_the_results(root):
    page = Path(run_experiments(["statistics"], preset=LARGE, workspace=root, device="cpu")["page"]).read_text()
    tables = settings(page)
    assert list(tables) == ["Settings: workspace", "Settings: preset tiny"]
    assert "train.epochs 1 " in tables["Settings: preset tiny"]
    assert "epochs 1," in page
    assert "epochs 2" not in page
    assert "held out, one at a time: 0. About one fifth" in page
    assert 'class="example"' in page  # a command with another preset does not remove pictures


def test_settings_mention_neither_phantoms_nor_folds_that_were_not_created(root):
    page = Path(run_experiments(["statistics"], preset=TINY, workspace=root, device="cpu")["page"]).read_text()
    told = " ".join(settings(page).values())
    assert not {"folds", "patients", "slices_per_scan"} & set(told.split())


@pytest.mark.slow
def test_results_of_several_presets_are_distinguished(root):
    page = Path(run_experiments(["curves"], preset=LARGE, workspace=root, device="cpu")["page"]).read_text()
    assert list(settings(page))[1:] == ["Settings: preset large (curves)", "Settings: preset tiny (examples)"]
    assert "The results are from several presets: preset large (curves); preset tiny (examples)." in page
    context = Context(root, TINY, device="cpu")
    items = {row[0]: row[4] for row in checklist(by_preset(context, documents(context))).tables[0].rows}
    training = items["Training, selection, ensembles"]
    assert training.startswith("preset large (curves): ")
    assert "epochs 2" in training.split(". preset tiny (examples): ")[0]
    assert "preset" not in items["Clusters"]  # both presets have the same value


def without_extent(document: ExperimentDocument) -> ExperimentDocument:
    return ExperimentDocument(**{name: value for name, value in document.to_dict().items() if name != "extent"})


def test_a_document_without_an_extent_belongs_to_the_preset_of_its_name(root):
    context = Context(root, replace(TINY, run=1), device="cpu")
    found = {name: without_extent(d) for name, d in documents(context).items()}
    (shown,) = by_preset(context, found)
    assert shown.context is context
