"""The lock of an output folder, and the folders that a refused command leaves."""

import pytest

from ildfv.errors import InputError
from ildfv.store.lock import writing


def refused(folder, written=""):
    """Raises InputError while the folder is locked. written: a folder to create first, relative to that folder."""

    def fail():
        if written:
            (folder / written).resolve().mkdir()
        raise InputError("no")

    with pytest.raises(InputError, match="no"), writing(folder):
        fail()


def test_a_refused_command_leaves_no_new_folder(tmp_path):
    refused(tmp_path / "models" / "cnnf" / "fold-0")
    assert list(tmp_path.iterdir()) == []


def test_folders_that_existed_or_have_content_are_kept(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    refused(models / "cnnf" / "fold-0")
    assert list(models.iterdir()) == []
    refused(models / "cnnf" / "fold-0", "fisher")
    assert (models / "cnnf" / "fold-0" / "fisher").exists()
    refused(models / "vgg19" / "fold-0", "../fold-1")  # by another process
    assert [path.name for path in (models / "vgg19").iterdir()] == ["fold-1"]
