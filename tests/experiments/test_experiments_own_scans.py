"""The experiments on a user's own scans: nothing is called phantom; missing labels give nulls or one line of error."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small
from tiny import TINY, scan, stored

from ildfv.datasets.slice_store import write_scan
from ildfv.errors import InputError
from ildfv.experiments.registry import experiments
from ildfv.experiments.run import run_experiments
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.store.parts import writing_parts

pytestmark = pytest.mark.slow  # runs every experiment a second time


def make(root: Path, change) -> Path:
    """A workspace of scans that are not phantoms; change: (number, scan) → scan."""
    workspace = Workspace.open_or_create(root, version="test", salt="0123456789abcdef", folds=4)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(small.PATIENTS):
            parts.add(write_scan(workspace.slices_dir, change(number, replace(scan(number), phantom=False))))
    write_folds(workspace)
    return root


def without(one, pattern: int):
    """The scan with the pixels of a pattern relabelled as healthy."""
    counts = one.counts.copy()
    counts[:, pattern] = 0
    return replace(one, counts=counts, labels=np.where(one.labels == pattern + 1, 0, one.labels).astype(np.uint8))


def missing_labels(number, one):
    """Two scans without label maps; emphysema (3) on one patient only, honeycomb (2) on none."""
    one = without(one, 2) if number == 4 else without(without(one, 2), 3)
    if number < 6:
        return one
    return replace(one, labelled=False, counts=np.full_like(one.counts, -1), labels=np.zeros_like(one.labels))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("own") / "workspace", missing_labels)
    return stored(run_experiments(["all"], preset=TINY, workspace=root, device="cpu"))


def test_every_experiment_runs_on_a_users_own_scans_with_missing_labels(ran):
    assert [d["name"] for d in ran["experiments"]] == list(experiments())


def test_rows_name_their_data_and_nothing_is_called_phantom(ran):
    for document in ran["experiments"]:
        assert document["data"] == "user"
        for table in document["tables"]:
            column = table["columns"].index("data")
            theirs = {row[column] for row in table["rows"] if row[1] == "the paper"}
            assert {row[column] for row in table["rows"]} - theirs == {"user"}
            assert "user" not in theirs
            assert "user" in {row[column] for row in table["rows"]}
    page = Path(ran["page"]).read_text(encoding="utf-8")
    assert "Phantom data" not in page
    assert 'class="tag"' not in page
    assert "the user&#39;s own scans" in page


def test_a_pattern_that_no_slice_shows_has_no_measures(ran):
    systems = next(d for d in ran["experiments"] if d["name"] == "layers")["systems"]
    for system in systems.values():
        absent = system["pooled"]["per_pattern"]["honeycomb"]
        assert absent["positives"] == 0
        assert all(absent[name] is None for name in ("auc", "f", "precision", "recall", "ap", "brier", "auc_interval"))
        assert system["pooled"]["overall"]["mean_auc"] is not None


def test_slices_without_label_maps_are_counted_and_not_used(ran):
    statistics = next(d for d in ran["experiments"] if d["name"] == "statistics")
    assert "12 slices have no labels" in statistics["notes"][0]
    page = Path(ran["page"]).read_text(encoding="utf-8")
    assert "slices without labels (12) are used neither for training nor for testing" in page


def test_an_experiment_that_cannot_be_run_gives_a_one_line_error_after_the_others_are_done(tmp_path):
    root = make(tmp_path / "healthy", lambda _, one: replace(one, counts=np.zeros_like(one.counts)))
    with pytest.raises(InputError) as caught:
        run_experiments(["balance", "statistics"], preset=TINY, workspace=root, device="cpu")
    message = str(caught.value)
    assert message.startswith("balance: a balanced loss needs at least two patterns in the training slices")
    assert "\n" not in message
    assert (root / "results" / "experiments" / "statistics.json").exists()
    assert "Slices and patients per pattern" in (root / "experiments.html").read_text(encoding="utf-8")


def test_results_of_other_folds_are_not_on_the_page(tmp_path, made):
    root = Path(shutil.copytree(made, tmp_path / "w"))
    run_experiments(["curves"], preset=TINY, workspace=root, device="cpu")
    write_folds(Workspace.open(root), seed=1, fresh=True)
    page = Path(run_experiments(["statistics"], preset=TINY, workspace=root, device="cpu")["page"])
    assert "Brier scores" not in page.read_text(encoding="utf-8")


def test_a_checklist_trains_nothing(tmp_path, made, monkeypatch):
    def never(*args, **options):
        raise AssertionError("trained")

    monkeypatch.setattr("ildfv.train.trainer.train", never)
    root = Path(shutil.copytree(made, tmp_path / "w"))
    run_experiments(["statistics"], preset=TINY, workspace=root, device="cpu")
