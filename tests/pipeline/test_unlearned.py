"""A pattern of one patient: no training patient shows it if this patient's fold is held out, so AUC is undefined."""

import pytest
from small import SLICES
from test_baselines import make
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.datasets.slice_labels import SliceLabels
from ildfv.patterns import ABSENT, PRESENT, UNLABELLED
from ildfv.pipeline.baselines import score_baselines
from ildfv.pipeline.prepare_labels import SLICE_LABELS
from ildfv.pipeline.recipes import summary
from ildfv.pipeline.report import make_report
from ildfv.pipeline.scored import current_results, predictions_of
from ildfv.pipeline.split import load_folds, write_folds
from ildfv.store.checksummed import write_checksummed


def study(root, honeycomb):
    """The small study: half of the slices of each scan show ground glass, one scan emphysema, none reticular."""
    workspace = make(root)
    labels = SliceLabels()
    for number, name in enumerate(workspace.stored_slices().names):
        shown = [(z % 2 == 0, False, False, number == 0 and z % 2 == 0) for z in range(SLICES)]
        rows = [[PRESENT if on else ABSENT for on in row] for row in shown]
        labels.counts[name] = {z: [*row[:2], honeycomb, row[3]] for z, row in enumerate(rows)}
    write_checksummed(workspace.slice_labels_file, {"kind": SLICE_LABELS, "version": 1, "labels": labels.to_dict()})
    write_folds(workspace, fresh=True)
    return workspace


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    workspace = study(tmp_path_factory.mktemp("rare") / "study", UNLABELLED)
    return workspace, score_baselines(workspace.root)


def test_the_auc_of_a_pattern_that_no_training_patient_shows_is_undefined(rare):
    workspace, results = rare
    folds, slices = load_folds(workspace), workspace.slices()
    held_out = folds.fold_of[slices.patients[0]]
    assert {r.per_pattern["emphysema"].auc for r in results} == {None}
    assert {r.per_pattern["emphysema"].ap for r in results if r.fold == held_out} == {None}
    found = summary(workspace, slices)
    for one in found["systems"].values():
        assert one["auc"]["emphysema"] is None
        assert one["mean_auc"] == pytest.approx(one["auc"]["ground glass"])
    current, _ = current_results(workspace, slices)
    for name, one in current.items():
        unlearned = predictions_of(workspace, slices, name, one)[1].unlearned
        assert ("emphysema" in unlearned) == (one.fold == held_out)


def test_one_note_of_the_report_says_why(rare):
    workspace, _ = rare
    fold = load_folds(workspace).fold_of[workspace.slices().patients[0]]
    notes = make_report(workspace.root)["notes"]
    start = f"No training slice shows emphysema if fold {fold} is held out, so no system can learn it there: "
    (note,) = [note for note in notes if "no system can learn" in note]
    assert note.startswith(start)
    assert all(note[0].isupper() for note in notes)


def test_stats_and_report_show_that_a_pattern_is_not_labelled(rare):
    root = rare[0].root
    shown = CliRunner().invoke(app, ["stats", "-w", str(root)]).output
    (row,) = [line.split() for line in shown.splitlines() if line.startswith("honeycomb")]
    assert row == ["honeycomb", "not", "labelled", "–"]
    assert "no pattern on any" not in shown
    assert "is unknown without labels of honeycomb" in " ".join(shown.split())
    make_report(root)
    page = (root / "report.html").read_text()
    assert "<td>not labelled</td>" in page
    assert "Table 2" not in page


def test_stats_of_complete_labels_count_slices_without_a_pattern(tmp_path):
    workspace = study(tmp_path / "study", ABSENT)
    shown = CliRunner().invoke(app, ["stats", "-w", str(workspace.root)]).output
    assert "not labelled" not in shown
    assert "none (patients: no pattern on any slice)" in shown
