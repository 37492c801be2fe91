"""`prepare --dry-run` shows what would be read, from headers only, and writes nothing."""

import json

import pytest
from preparing import prepare
from typer.testing import CliRunner

from ildfv.cli import app


def command(*arguments):
    return CliRunner().invoke(app.app, ["prepare", *map(str, arguments)])


@pytest.fixture
def scans(tmp_path, files):
    hu = files.chest()
    files.series(tmp_path / "s/p1/ct", hu, patient="P-1")
    files.nifti(tmp_path / "s/p1/labels.nii.gz", files.codes(hu))
    files.nifti(tmp_path / "s/alice.nii.gz", files.chest(seed=1))
    files.nifti(tmp_path / "s/bob_label.nii.gz", files.codes(hu))
    (tmp_path / "s/notes.txt").write_text("hello")
    return tmp_path / "s"


def snapshot(folder):
    return sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_pairs_and_refusals_are_listed_and_nothing_is_written(tmp_path, scans):
    before = snapshot(tmp_path)
    ended = command(scans, "--dry-run", "--codes", "phantom", "--workspace", tmp_path / "w", "--json")
    assert ended.exit_code == 0, ended.output
    assert snapshot(tmp_path) == before
    document = json.loads(ended.stdout)
    assert [(scan["source"], scan["patient"], scan["slices"], scan["label"]) for scan in document["scans"]] == [
        (str(scans / "alice.nii.gz"), "alice", 6, None),
        (str(scans / "p1/ct"), "P-1", 6, str(scans / "p1/labels.nii.gz")),
    ]
    (refused,) = document["quarantined"]
    assert refused["source"].endswith("bob_label.nii.gz")
    assert 'its scan, here "bob"' in refused["reason"]
    assert [unused["source"] for unused in document["ignored"]] == [str(scans / "notes.txt")]


def test_the_terminal_shows_pairs_and_ignored_files(tmp_path, scans, caplog):
    ended = command(scans, "--dry-run", "--codes", "phantom", "--workspace", tmp_path / "w")
    assert f"{scans / 'p1/ct'}: patient P-1, 6 slices, label map: {scans / 'p1/labels.nii.gz'}\n" in ended.stdout
    assert f"{scans / 'alice.nii.gz'}: patient alice, 6 slices, label map: none\n" in ended.stdout
    assert "1 file ignored (notes.txt): not DICOM, NIfTI, NRRD or MetaImage\n" in ended.stdout
    assert "2 scans, 1 with label maps; nothing was written.\n" in ended.stdout
    assert "Label codes: phantom" in caplog.text


def test_no_voxel_is_read(scans, monkeypatch):
    def read(*_, **__):
        raise AssertionError("a voxel was read")

    for name in ("read_series", "read_file"):
        monkeypatch.setattr(f"ildfv.datasets.convert.{name}", read)
    monkeypatch.setattr("numpy.frombuffer", read)
    assert command(scans, "--dry-run", "--codes", "phantom").exit_code == 0


def test_the_pairs_are_those_of_a_preparation(tmp_path, scans, inline):
    document = json.loads(command(scans, "--dry-run", "--codes", "phantom", "--json").stdout)
    report = prepare(scans, tmp_path / "out", codes="phantom", salt="0123456789abcdef", workers=1).to_dict()
    assert [(scan["source"], scan["label"]) for scan in document["scans"]] == [
        (scan["source"], scan["label"]) for scan in report["prepared"]
    ]


def test_a_dry_run_checks_a_table(tmp_path, scans):
    (scans / "t.csv").write_text("scan,label,patient\nalice.nii.gz,bob_label.nii.gz,Alice\nnone,,\n")
    document = json.loads(command("--table", scans / "t.csv", "--dry-run", "--codes", "phantom", "--json").stdout)
    (scan,) = document["scans"]
    assert (scan["patient"], scan["label"]) == ("Alice", str(scans / "bob_label.nii.gz"))
    assert document["quarantined"][0]["reason"].startswith("row 3 of t.csv: a path must exist")
