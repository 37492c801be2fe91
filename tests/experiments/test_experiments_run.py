"""Every experiment runs, its document follows the schema, and nothing is computed twice."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY, stored

from ildfv.errors import InputError
from ildfv.evaluation.comparisons import compare as compare_predictions
from ildfv.experiments import results as results_module
from ildfv.experiments import run as run_module
from ildfv.experiments.context import Context
from ildfv.experiments.presets import PRESETS
from ildfv.experiments.registry import experiments
from ildfv.experiments.results import history, predictions
from ildfv.experiments.run import run_experiments
from ildfv.pipeline.verify import verify_workspace
from ildfv.progress import SILENT
from ildfv.store.checksummed import read_checksummed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(used):
    """The result of running all experiments once."""
    return stored(run_experiments(["all"], preset=TINY, workspace=used, device="cpu"))


def test_all_experiments_ran(ran):
    assert [d["name"] for d in ran["experiments"]] == list(experiments())


def test_every_table_names_sources_and_data(ran):
    for document in ran["experiments"]:
        assert document["data"] == "phantom"
        for table in document["tables"]:
            assert table["columns"][1:3] == ["source", "data"], table["title"]
            for row in table["rows"]:
                assert len(row) == len(table["columns"])
                assert (row[1] == "the paper") == (row[2] != "phantom")
                assert row[1] in ("this run", "the paper")
                assert row[2] in ("phantom", "LTRC, 240k slices", "18k slices", "LTRC slices")


def test_every_table_of_the_paper_has_an_experiment(ran):
    answered = " ".join(d["paper"] for d in ran["experiments"] if d["paper"])
    assert answered == (
        "Tables 1 and 2 Tables 3 and 4 Tables 5 and 6 Table 7 Table 8 Table 9 Figure 5 Figure 6 "
        "Section 4.5 Section 4.5 Section 5, future work Section 4.7, future work"
    )


def test_documents_are_in_the_workspace_as_json_and_csv(ran, used):
    folder = used / "results" / "experiments"
    for document in ran["experiments"]:
        assert read_checksummed(folder / f"{document['name']}.json") == document
        for i, table in enumerate(document["tables"], start=1):
            rows = list(csv.reader((folder / f"{document['name']}-{i}.csv").open()))
            assert len(rows) == 1 + len(table["rows"])
            assert len({len(row) for row in rows}) == 1


def test_the_page_shows_every_table_and_the_checklist(ran):
    page = Path(ran["page"]).read_text(encoding="utf-8")
    for document in ran["experiments"]:
        for table in document["tables"]:
            assert table["title"] in page
    assert "Phantom data – not clinical" in page
    assert "Ethical approval and consent" in page
    assert "for the author to write" in page


def test_a_second_run_trains_and_encodes_nothing(ran, used, monkeypatch):
    def never(*args, **options):
        raise AssertionError("made twice")

    monkeypatch.setattr("ildfv.train.trainer.train", never)
    monkeypatch.setattr("ildfv.pipeline.encode.FisherVectors", never)
    again = stored(run_experiments(["losses", "layers", "unordered"], preset=TINY, workspace=used, device="cpu"))
    before = {d["name"]: d for d in ran["experiments"]}
    for document in again["experiments"]:
        assert document["tables"] == before[document["name"]]["tables"]
        assert document["comparisons"] == before[document["name"]]["comparisons"]


def test_systems_with_equal_settings_share_one_folder(context):
    names = {context.base.folder, context.regression("again").folder, context.regression("at 6000").folder}
    names |= {replace(context.base, threshold=6000).folder}
    assert len(names) == 1
    assert context.cnn("other", loss="l2", target="ramp").folder not in names
    assert context.cnn("few", patients=2).folder not in names
    assert context.cnn("small", share=0.5).folder not in names


def test_limiting_the_number_of_patients_reduces_the_fit_slices_only(context):
    all_, few = context.split(0), context.split(0, patients=2)
    patients = context.slices.patients
    assert set(patients[few.fit]) < set(patients[all_.fit])
    np.testing.assert_array_equal(few.validation, all_.validation)
    np.testing.assert_array_equal(few.test, all_.test)
    np.testing.assert_array_equal(few.train, np.union1d(few.fit, few.validation))


def test_pooled_predictions_cover_the_held_out_folds_once(context):
    found = predictions(context, context.base)
    assert [p.fold for p in found] == [0, 1]
    tested = np.concatenate([context.split(fold).test for fold in (0, 1)])
    assert len(np.unique(tested)) == len(tested) == sum(len(p.scores) for p in found)


def test_weights_needed_for_scores_only_can_be_removed(made, tmp_path):
    import shutil
    from dataclasses import replace

    context = Context(shutil.copytree(made, tmp_path / "w"), replace(TINY, keep_networks=False, run=1), device="cpu")
    predictions(context, context.base)
    dropped = context.cnn("l2", loss="l2", target="step")
    predictions(context, dropped)
    kept = [path.parts[-3] for path in context.folder.glob("models/*/*/model.safetensors")]
    assert kept == [context.base.folder]
    assert verify_workspace(context.workspace.root)["faults"] == []  # removed on purpose, so not reported as lost
    told = history(context, dropped, 0)
    shutil.rmtree(context.folder / "models" / dropped.folder)
    assert history(context, dropped, 0) == told


def test_paper_preset_is_the_papers_protocol():
    preset = PRESETS["paper"]
    assert (preset.folds, preset.run, preset.components, preset.dimensions) == (5, None, 32, 512)
    assert (preset.growth, preset.small_share, preset.difficulty) == ((12, 24, 48, 120), 0.075, "hard")
    assert preset.sweep_components == (8, 16, 32, 64, 128, 256)
    assert preset.sweep_dimensions == (64, 128, 256, 512, 1024)


@pytest.mark.slow
def test_without_a_workspace_phantoms_are_created(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = run_module.phantoms(TINY, "easy", run_module.SILENT)
    slices = Context(root, TINY, device="cpu").slices
    assert len(slices) == TINY.patients * TINY.slices_per_scan
    assert slices.healthy.min() >= 0
    assert run_module.phantoms(TINY, "easy", run_module.SILENT) == root
    other = run_module.phantoms(TINY, "easy", run_module.SILENT, seed=run_module.OTHER_SEED)
    assert not set(Context(other, TINY, device="cpu").slices.patients) & set(slices.patients)
    with pytest.raises(InputError, match="must exist, got no folder"):
        run_experiments(["statistics"], preset=TINY, workspace=tmp_path / "nowhere")


def test_the_workspaces_own_report_shows_experiments_too(ran, used):
    from ildfv.pipeline.report import make_report

    page = Path(make_report(used)["report"]).read_text(encoding="utf-8")
    assert all(table["title"] in page for d in ran["experiments"] for table in d["tables"])


def test_folds_that_differ_from_the_preset_are_noted(used):
    notes: list[str] = []

    class Noting(type(SILENT)):
        def note(self, text: str) -> None:
            notes.append(text)

    context = Context(used, replace(TINY, folds=7), device="cpu", progress=Noting())
    assert context.remarks == notes
    assert "folds, but preset tiny uses 7" in notes[0]
    assert Context(used, replace(TINY, folds=context.folds.n_folds), device="cpu").remarks == []


def test_networks_of_the_preset_keep_its_settings(used, monkeypatch):
    from typer.testing import CliRunner

    from ildfv.cli.app import app
    from ildfv.experiments.presets import PAPER

    given = []
    monkeypatch.setattr(run_module, "run_experiments", lambda names, preset, **_: given.append(preset) or {})
    command = ["experiment", "networks", "-w", str(used), "--json", "--preset", "paper"]
    CliRunner().invoke(app, [*command, *(f"--network={name}" for name in ("vgg19", "cnnf", "timm:x"))])
    assert given[0].networks == {**PAPER.networks, "timm:x": {}}


def test_the_ridge_penalty_of_the_command_reaches_every_encoding(made, monkeypatch):
    from typer.testing import CliRunner

    from ildfv.cli.app import app

    given = []
    monkeypatch.setattr(run_module, "run_experiments", lambda names, preset, **_: given.append(preset) or {})
    CliRunner().invoke(app, ["experiment", "layers", "-w", str(made), "--json", "--ridge", "0.5"])
    context = Context(made, replace(TINY, ridge=given[0].ridge), device="cpu")
    chosen = context.encoded("conv1", "conv1")
    assert chosen.ridge == "0.5"
    assert chosen.folder != Context(made, TINY, device="cpu").encoded("conv1", "conv1").folder


def test_comparisons_are_also_a_csv_table(ran, used):
    for document in ran["experiments"]:
        path = used / "results" / "experiments" / f"{document['name']}-tests.csv"
        assert path.exists() == bool(document["comparisons"])
        if document["comparisons"]:
            with path.open() as file:
                rows = list(csv.DictReader(file))
            assert len(rows) == sum(len(c["tests"]) for c in document["comparisons"])
            test = document["comparisons"][0]["tests"][rows[0]["measure"]]
            assert rows[0]["difference"] == ("" if test["difference"] is None else repr(test["difference"]))


def test_scores_of_another_fold_are_detected(made, tmp_path):
    context = Context(Path(shutil.copytree(made, tmp_path / "w")), TINY, device="cpu")
    predictions(context, context.base)
    ours, theirs = (context.folder / "scores" / context.base.folder / f"fold-{fold}" for fold in (0, 1))
    shutil.rmtree(ours)
    shutil.copytree(theirs, ours)
    (fault,) = verify_workspace(context.workspace.root)["faults"]
    assert str(ours) in fault
    with pytest.raises(InputError, match=f"{ours} must contain scores of .* without fold 0, got other scores"):
        predictions(Context(context.workspace.root, TINY, device="cpu"), context.base)


def test_a_report_of_experiments_alone_does_not_say_that_nothing_was_scored(ran, used):
    from ildfv.pipeline.report import make_report

    assert make_report(used)["notes"] == []
    notes = [table["note"] for d in ran["experiments"] if d["name"] in ("curves", "examples") for table in d["tables"]]
    assert sum("experiments.html" in note for note in notes) == 2  # with and without pictures
    assert not any("report" in note for note in notes)


def test_a_pattern_that_no_validation_slice_shows_is_noted_in_the_document(made, tmp_path, monkeypatch):
    from ildfv.experiments.experiment import Findings

    context = Context(Path(shutil.copytree(made, tmp_path / "w")), TINY, device="cpu")
    real = results_module.Decisions.fit
    monkeypatch.setattr(
        results_module.Decisions,
        "fit",
        lambda truth, scores: replace(real(truth, scores), thresholds=(None, 0.0, 0.0, 0.0)),
    )
    document = run_module.describe(context, experiments()["losses"], Findings([], [context.base]))
    (note,) = document.notes
    assert note.startswith("ground glass has no decision threshold if fold 0 or 1 is held out, because no validation")


def test_comparisons_are_means_over_the_seeds_of_the_preset(used):
    context = Context(used, replace(TINY, seeds=2, run=1), device="cpu")
    a, b = (context.encoded(name, "conv1", encoder=name) for name in ("max", "mean"))
    found = results_module.compare(context, a, b)
    singles = [compare_predictions(*(predictions(context, one.reseeded(n)) for one in (a, b))) for n in (0, 1)]
    assert found.seeds == 2
    each = [one.tests["mean_auc"].difference for one in singles]
    assert each[0] != each[1]
    assert found.tests["mean_auc"].difference == pytest.approx(np.mean(each))
    assert a.reseeded(0) == a
    assert a.reseeded(1).network.settings.seed == a.network.settings.seed + 1
    assert a.reseeded(1).settings.seed == a.settings.seed + 1


def test_a_comparison_of_one_seed_says_so(ran):
    compared = [d for d in ran["experiments"] if d["comparisons"]]
    assert compared
    assert all(any("was fitted with one seed" in note for note in d["notes"]) for d in compared)
