"""`train_network` warns about few slices, and early stopping is recorded in the results."""

import pytest
import small
from small import make_workspace

from ildfv.errors import InputError
from ildfv.pipeline.train import ENOUGH, train_network
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT

GIVEN = {"network": "small", "device": "cpu", "batch_size": 8}


class Notes:
    """A progress that collects the notes."""

    task = staticmethod(SILENT.task)

    def __init__(self):
        self.found = []

    def note(self, text):
        self.found.append(text)


def test_training_on_few_slices_is_noted_before_it_starts(root):
    notes = Notes()
    result = train_network(root, name="new", epochs=1, progress=notes, **GIVEN)
    rule = f"with fewer than about {ENOUGH:,} slices, descriptors that need no training are usually better"
    assert notes.found[0].startswith(f"training on 30 slices: {rule}")
    assert result.settings["train"]["epochs"] == 1
    assert "early stopping" not in result.settings
    assert "patience" not in result.settings["train"]


def test_training_on_enough_slices_is_not_noted(root, monkeypatch):
    monkeypatch.setattr("ildfv.pipeline.train.ENOUGH", 30)
    notes = Notes()
    train_network(root, name="new", epochs=1, progress=notes, **GIVEN)
    assert not [note for note in notes.found if note.startswith("training on")]


def test_early_stopping_with_one_validation_patient_is_refused(root):
    with pytest.raises(InputError, match="patience needs at least 2 validation patients with labels, got 1"):
        train_network(root, name="new", epochs=9, patience=2, **GIVEN)
    assert not Workspace.open(root).model_dir("new", 0).parent.exists()


def test_a_refused_training_gives_no_advice_and_leaves_no_folder(root, tmp_path):
    notes = Notes()
    with pytest.raises(InputError, match="missing"):
        train_network(root, name="new", weights=str(tmp_path / "missing.safetensors"), progress=notes, **GIVEN)
    assert notes.found == []
    assert not Workspace.open(root).model_dir("new", 0).parent.exists()


def test_results_state_where_training_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(small, "PATIENTS", 12)
    root = make_workspace(tmp_path / "workspace", model=False).root
    settings = train_network(root, epochs=30, patience=1, learning_rate=0.05, **GIVEN).settings
    assert settings["train"]["patience"] == 1
    stopped = settings["early stopping"]
    assert stopped["epoch kept"] == stopped["epochs trained"] - 1 < 29
