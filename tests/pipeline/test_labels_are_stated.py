"""Outputs state a threshold of presence only for pixel counts, and the folds that results are from."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "inference"))

from test_regions import chest
from test_systems import TINY, workspace_of

from ildfv.cli.app import app
from ildfv.datasets.slice_labels import SliceLabels
from ildfv.inference.methods import methods_paragraph
from ildfv.inference.schema import Head
from ildfv.patterns import ABSENT, PRESENT, presence
from ildfv.pipeline.encode import encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.prepare_labels import SLICE_LABELS
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.report import make_report
from ildfv.pipeline.split import write_folds
from ildfv.store.checksummed import write_checksummed

SYSTEM = "fv-filters-lung-ridge"


def fitted(root, fold, layer="filters"):
    encode_slices(root, TINY, fold=fold)
    return regress_encoding(root, layer=layer, region="lung", fold=fold, head="ridge", target="step")


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A study with pixel counts, scored on one of two folds."""
    root = workspace_of(tmp_path_factory.mktemp("counted") / "study", chest).root
    fitted(root, 0)
    return root


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """(a study with labels of presence, its results on both folds)."""
    workspace = workspace_of(tmp_path_factory.mktemp("shown") / "study", chest)
    slices, labels = workspace.stored_slices(), SliceLabels()
    for part, name in enumerate(slices.names):
        rows = range(slices.starts[part], slices.starts[part + 1])
        found = presence(slices.counts[rows.start : rows.stop])
        labels.counts[name] = {z: [PRESENT if one else ABSENT for one in found[z]] for z in range(len(rows))}
    write_checksummed(workspace.slice_labels_file, {"kind": SLICE_LABELS, "version": 1, "labels": labels.to_dict()})
    write_folds(workspace, fresh=True)
    return workspace.root, [fitted(workspace.root, fold) for fold in range(2)]


def run(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize("everyone", [False, True])
def test_a_predictor_of_labels_of_presence_states_no_threshold(shown, tmp_path, everyone):
    root, _ = shown
    info = export_predictor(root, tmp_path / "predictor", system=[SYSTEM], all_patients=everyone)
    assert [head.pixel_counts for head in info.heads] == [False]
    card = (tmp_path / "predictor" / "MODEL_CARD.md").read_text()
    for text in (card, methods_paragraph(info, "0" * 64)):
        assert "6000" not in text
        assert "which patterns a slice show" in text


def test_a_predictor_of_pixel_counts_states_the_threshold(counted, tmp_path):
    info = export_predictor(counted, tmp_path / "predictor", system=[SYSTEM])
    assert [head.pixel_counts for head in info.heads] == [True]
    for text in ((tmp_path / "predictor" / "MODEL_CARD.md").read_text(), methods_paragraph(info, "0" * 64)):
        assert "at least 6000 pixels" in text
    assert "pixel_counts" in (tmp_path / "predictor" / "predictor.json").read_text()
    values = info.heads[0].model_dump(exclude={"pixel_counts"})
    assert Head.model_validate(values) == info.heads[0]  # a predictor without the field


def test_results_report_and_tables_of_labels_of_presence_state_no_threshold(shown):
    root, results = shown
    assert [one.pixel_counts for one in results] == [False, False]
    page = " ".join(Path(make_report(root)["report"]).read_text().split())
    assert "covers at least" not in page
    assert "The labels state which patterns a slice shows" in page
    assert "at T = 6000" not in page
    assert "labels of presence; 0 slices" in run("stats", "-w", root)
    kept = ("regress", "-w", root, "--layer", "filters", "--region", "lung", "--head", "ridge", "--target", "step")
    assert "labels of presence. Thresholds" in run(*kept)


def test_results_of_pixel_counts_have_the_fields_of_earlier_versions(counted):
    assert "pixel_counts" not in next((counted / "results").glob("*.json")).read_text()
    assert "T = 6000 pixels" in run("stats", "-w", counted)
    assert "covers at least 6" in " ".join(Path(make_report(counted)["report"]).read_text().split())


def test_export_states_the_fold_of_its_results_and_the_command_for_all_folds(shown, counted, tmp_path):
    out = tmp_path / "a predictor"
    printed = run("export", "-w", shown[0], "--system", SYSTEM, "--out", out)
    command = f"ildfv export -w {shown[0]} --system {SYSTEM} --all-patients --out '{out}'"
    assert f"These are the results of fold 1 alone. For those of all 2 folds: {command} " in printed
    assert "alone" not in run("export", "-w", shown[0], "--system", SYSTEM, "--all-patients", "--out", out)
    printed = run("export", "-w", counted, "--system", SYSTEM, "--out", out)
    assert "These are the results of fold 0 alone. Next:" in printed
