"""The output folder of predictions: another process, a full disk, a killed run and foreign files are one line each."""

import errno
import json

import numpy as np
import pytest
from scan_files import ScanFiles

from ildfv.inference.inbox import predict_all
from ildfv.inference.predictor import Predictor
from ildfv.store.lock import writing


@pytest.fixture(scope="module")
def loaded(folder):
    return Predictor.load(folder)


@pytest.fixture
def scan(tmp_path):
    ScanFiles.series(tmp_path / "scan", ScanFiles.chest(2), series="1.2.3.4")
    return tmp_path / "scan"


def predicted(loaded, scan, out, **options):
    """(the prediction, its folder)."""
    (answer,), failed = predict_all([scan], loaded, out=out, **options)
    assert failed == []
    return answer, out / answer["scan"]


def refused(loaded, scan, out, **options) -> str:
    answers, (failed,) = predict_all([scan], loaded, out=out, **options)
    assert answers == []
    assert failed["reason"].isprintable()
    return failed["reason"]


def test_a_scan_that_another_process_predicts_is_refused_and_its_files_are_kept(loaded, scan, tmp_path):
    _, folder = predicted(loaded, scan, tmp_path / "out")
    before = sorted(folder.iterdir())
    with writing(folder):
        reason = refused(loaded, scan, tmp_path / "out", fresh=True)
        assert "is locked by process" in reason
        assert "wait until that process ends, or stop it" in reason
    assert [path for path in sorted(folder.iterdir()) if path.name != ".holder"] == before


def test_a_killed_run_is_resumed_and_its_unfinished_files_are_removed(loaded, scan, tmp_path, monkeypatch):
    answer, folder = predicted(loaded, scan, tmp_path / "out")
    (folder / "prediction.json").unlink()  # it is written last
    (folder / ".writing-1-2-slices.csv").write_text("half")
    (folder / "emphysema-slice-77.png").write_bytes(b"of another prediction")
    again, _ = predicted(loaded, scan, tmp_path / "out")
    assert again == answer
    assert not list(folder.glob(".writing-*"))
    assert not (folder / "emphysema-slice-77.png").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1 column 2 (char 1): give another --out"),
        ("[]", "must be a prediction, got another document: give another --out, or replace it"),
    ],
)
def test_a_damaged_prediction_is_named(loaded, scan, tmp_path, text, message):
    answer, folder = predicted(loaded, scan, tmp_path / "out")
    (folder / "prediction.json").write_text(text)
    reason = refused(loaded, scan, tmp_path / "out")
    assert message in reason
    assert "prediction.json" in reason
    assert "unexpected" not in reason
    predicted(loaded, scan, tmp_path / "out", fresh=True)
    assert json.loads((folder / "prediction.json").read_text()) == answer


@pytest.mark.parametrize("first", [True, False])
def test_a_prediction_with_or_without_identity_is_not_returned_for_the_other(loaded, scan, tmp_path, first):
    predicted(loaded, scan, tmp_path / "out", keep_identity=first)
    reason = refused(loaded, scan, tmp_path / "out", keep_identity=not first)
    assert f"was written {'with' if first else 'without'} --keep-identity: give another --out" in reason
    answer, _ = predicted(loaded, scan, tmp_path / "out", keep_identity=not first, fresh=True)
    assert ("identity" in answer) != first


def test_a_failed_prediction_leaves_no_folder(loaded, tmp_path):
    ScanFiles.series(tmp_path / "air", np.full((2, 512, 512), -1000, np.int16), series="1.2.3.5")
    assert "tissue" in refused(loaded, tmp_path / "air", tmp_path / "out")
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_failed_second_prediction_keeps_the_first(loaded, scan, tmp_path, monkeypatch):
    _, folder = predicted(loaded, scan, tmp_path / "out")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr("ildfv.inference.inbox.predicted", lambda *a, **k: 1 / 0)
    assert "unexpected" in refused(loaded, scan, tmp_path / "out", fresh=True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_an_error_of_the_system_that_is_not_of_a_file_names_the_line_of_code(loaded, scan, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr("ildfv.inference.inbox.predicted", broken)
    assert "(test_output_folders.py:" in refused(loaded, scan, tmp_path / "out")


def test_a_full_disk_is_one_line(loaded, scan, tmp_path, monkeypatch):
    def full(path, *arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("ildfv.inference.outputs.write_bytes", full)
    reason = refused(loaded, scan, tmp_path / "out", keep_identity=True)
    assert reason.endswith("slices.csv: No space left on device")
    assert "unexpected" not in reason


def test_a_zip_archive_and_not_a_temporary_folder_is_the_source(loaded, scan, tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for file in scan.iterdir():
            archive.write(file, f"ct/{file.name}")
    (answer,), _ = predict_all([tmp_path / "scan.zip"], loaded, keep_identity=True)
    assert answer["identity"]["source"] == f"{tmp_path / 'scan.zip'}/ct"
