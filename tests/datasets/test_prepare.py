"""Preparation from files to stored slices: results, resumption, refusals and the report."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from preparing import prepare

from ildfv.datasets import prepare_run as prepare_module
from ildfv.datasets.discovery import discover
from ildfv.datasets.identity import hashed
from ildfv.datasets.slice_store import Slices
from ildfv.errors import linked
from ildfv.scans.lungs import lung_mask
from ildfv.scans.windows import nearest, windowed
from ildfv.streaming.processes import Died

SALT = "0123456789abcdef"


def run(tmp_path, **options):
    return prepare(tmp_path / "scans", tmp_path / "out", **({"codes": "phantom", "salt": SALT} | options))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".h5", ".json")}


def n_files(report):
    labels = sum(len(scan.labels) for scan in report.prepared)
    return labels + sum(left.files for left in report.quarantined + report.ignored)


def test_slices_counts_and_identities_are_those_of_the_files(tmp_path, files):
    hu = files.chest()
    codes = files.codes(hu)
    files.series(tmp_path / "scans" / "a" / "ct", hu, series="1.2.3", patient="P-1")
    files.nifti(tmp_path / "scans" / "a" / "labels.nii.gz", codes)
    files.nrrd(tmp_path / "scans" / "b" / "ct.nrrd", files.chest(4, seed=5))
    report = run(tmp_path, workers=2)
    assert [(scan.slices, scan.labelled, scan.kept) for scan in report.prepared] == [
        (6, True, False),
        (4, False, False),
    ]
    assert not report.quarantined
    slices = Slices(tmp_path / "out")
    a = np.flatnonzero(slices.series == hashed("1.2.3", SALT))
    assert set(slices.patients[a]) == {hashed("P-1", SALT)}
    np.testing.assert_array_equal(slices.images(a), windowed(hu))
    np.testing.assert_array_equal(slices.counts[a], [[(s == c).sum() for c in (2, 3, 4, 5)] for s in codes])
    assert slices.counts[a].max() > 0
    np.testing.assert_array_equal(slices.healthy[a], [(s == 1).sum() for s in codes])
    stored = np.where(codes >= 2, codes - 1, 0).astype(np.uint8)
    np.testing.assert_array_equal(slices.label_maps(a), nearest(stored))
    np.testing.assert_array_equal(slices.lung[a], [np.count_nonzero(lung_mask(s, 16.0)) for s in hu])
    np.testing.assert_allclose(slices.positions[a], files.origin[2] + 5.0 * np.arange(6))
    assert slices.labelled[a].all()
    assert set(slices.pixel_area[a]) == {16.0}
    b = np.flatnonzero(slices.patients == hashed("b", SALT))
    assert (slices.counts[b] == -1).all()
    assert (slices.healthy[b] == -1).all()
    assert not slices.labelled[b].any()
    assert not slices.label_maps(b).any()


def test_nothing_on_disk_identifies_patients(tmp_path, files, inline):
    files.series(tmp_path / "scans", files.chest(), series="1.2.3.4.5.6", patient="MILLER^ANNA")
    run(tmp_path)
    for name, data in content(tmp_path / "out").items():
        assert b"MILLER" not in data, name
        assert b"1.2.3.4.5.6" not in data, name


def test_a_bad_scan_is_quarantined_and_the_others_are_prepared(tmp_path, files, inline):
    scans = tmp_path / "scans"
    files.series(scans / "good", files.chest())
    bad = files.series(scans / "broken", files.chest(seed=1))
    data = bytearray(bad[2].read_bytes())
    bad[2].write_bytes(data[:-100])
    body = files.chest(seed=2)
    body[body < -600] = 40
    body[:, :4] = -1000
    files.series(scans / "nolung", body)
    hu = files.chest(seed=3)
    files.series(scans / "labels" / "ct", hu)
    files.nifti(scans / "labels" / "label.nii", np.where(files.codes(hu) == 1, 77, 0).astype(np.uint8))
    (scans / "README").write_text("hello")
    report = run(tmp_path)
    assert [scan.source.name for scan in report.prepared] == ["good"]
    reasons = {left.source.name: left.reason for left in report.quarantined}
    assert set(reasons) == {"broken", "nolung", "ct"}
    assert "(truncated?)" in reasons["broken"]
    assert "a scan must show lung" in reasons["nolung"]
    assert reasons["ct"] == linked(
        "label map label.nii: label codes must be listed in phantom, got unknown code 77", "label-codes"
    )
    assert [left.source.name for left in report.ignored] == ["README"]
    assert n_files(report) == 6 + 6 + 7 + 1
    assert json.loads(json.dumps(report.to_dict()))["quarantined"][0]["files"] == 6
    assert report.slices == len(Slices(tmp_path / "out")) == 6


def test_a_scan_deleted_after_discovery_does_not_stop_the_others(tmp_path, files, inline, monkeypatch):
    files.nifti(tmp_path / "scans/p1/ct.nii.gz", files.chest())
    files.series(tmp_path / "scans/p2", files.chest(seed=1), patient="P-2")

    def seen(*arguments, **options):
        found = discover(*arguments, **options)
        (tmp_path / "scans/p1/ct.nii.gz").unlink()
        return found

    monkeypatch.setattr("ildfv.datasets.input.discover", seen)
    report = run(tmp_path)
    assert [scan.source.name for scan in report.prepared] == ["p2"]
    assert [left.reason for left in report.quarantined] == ["must be readable, got No such file or directory"]


def test_unreadable_slices_are_noted_with_the_series_in_their_folder(tmp_path, files, inline):
    paths = files.series(tmp_path / "scans/a", files.chest(8))
    paths[0].write_bytes(b"")
    paths[-1].unlink()
    paths[-1].symlink_to(tmp_path / "nowhere.dcm")
    report = run(tmp_path)
    assert [scan.slices for scan in report.prepared] == [6]
    assert len(report.quarantined) == 2
    note = "slices at the ends may be missing, because the folder has unreadable files: 2"
    assert report.prepared[0].notes[-1] == note


def test_a_label_map_named_like_a_scan_is_refused_with_the_remedy(tmp_path, files, inline):
    files.nifti(tmp_path / "scans/p/roi.nii.gz", files.codes(files.chest()))
    (left,) = run(tmp_path).quarantined
    assert "a label map? its name or folder must contain label, seg or mask" in left.reason


def test_a_label_map_without_lung_labels_leaves_the_scan_unlabelled_with_a_note(tmp_path, files, inline):
    hu = files.chest()
    files.nrrd(tmp_path / "scans" / "p" / "ct.nrrd", hu)
    files.nrrd(tmp_path / "scans" / "p" / "lm.nrrd", (files.codes(hu) > 0).astype(np.uint16) * (2 << 8 | 1))
    (scan,) = run(tmp_path, codes="cip").prepared
    assert not scan.labelled
    assert any("neither healthy lung nor a pattern" in note for note in scan.notes)
    assert any("64×64, not 512×512" in note for note in scan.notes)
    assert (Slices(tmp_path / "out").counts == -1).all()


def test_a_dying_worker_quarantines_its_scan(tmp_path, files, monkeypatch):
    def as_completed(function, tasks, workers=None):
        yield 0, function(tasks[0])
        yield 1, Died

    monkeypatch.setattr(prepare_module, "as_completed", as_completed)
    for i in range(2):
        files.series(tmp_path / "scans" / f"p{i}", files.chest(seed=i), patient=f"P-{i}")
    report = run(tmp_path)
    assert len(report.prepared) == 1
    assert [left.reason for left in report.quarantined] == [
        linked("its worker process was killed (out of memory?)", "out-of-memory")
    ]


def test_an_unexpected_error_is_reported_with_its_line(tmp_path, files, inline, monkeypatch):
    monkeypatch.setattr("ildfv.datasets.convert.lung_mask", lambda hu, area: 1 / 0)
    files.series(tmp_path / "scans", files.chest())
    (left,) = run(tmp_path).quarantined
    assert left.reason.startswith("unexpected ZeroDivisionError: division by zero (test_prepare.py:")


def test_libraries_do_not_write_to_the_terminal(tmp_path, files, inline, capfd, recwarn):
    def odd(z, dataset):
        dataset.add_new("SeriesDescription", "LO", "x" * 100)  # longer than DICOM allows
        dataset.ImagePositionPatient = [f"{float(v):.12f}00000"[:18] for v in dataset.ImagePositionPatient]
        return dataset

    with pytest.warns(UserWarning, match="exceeds the maximum length"):  # from pydicom while it writes
        files.series(tmp_path / "scans", files.chest(), change=odd)
    shutil.copy(next((tmp_path / "scans").glob("*.dcm")), tmp_path / "scans" / "broken.dcm")
    (tmp_path / "scans" / "broken.dcm").write_bytes((tmp_path / "scans" / "broken.dcm").read_bytes()[:500])
    (tmp_path / "scans" / "x.nii.gz").write_bytes(b"\x1f\x8b nonsense")
    capfd.readouterr()
    recwarn.clear()
    report = run(tmp_path)
    assert len(report.prepared) == 1
    assert len(report.quarantined) == 2
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_one_file_can_be_the_input(tmp_path, files, inline):
    path = files.nrrd(tmp_path / "ct.nrrd", files.chest())
    report = prepare(path, tmp_path / "out", salt=SALT)
    assert [scan.patient for scan in report.prepared] == [hashed("ct", SALT)]


@pytest.mark.slow
def test_a_killed_run_is_resumed_with_the_same_bytes(tmp_path, files):
    for i in range(5):
        files.series(tmp_path / "scans" / f"p{i}", files.chest(seed=i), patient=f"P-{i}")
    job = tmp_path / "job.py"
    job.write_text(
        "from pathlib import Path\n"
        "from ildfv.datasets.prepare import prepare\n"
        f"if __name__ == '__main__':\n    prepare(Path('scans'), Path('out'), codes='phantom', salt='{SALT}')\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, job], cwd=tmp_path, env=environment)
    end = time.monotonic() + 300
    while not list((tmp_path / "out").glob("*.h5")) and process.poll() is None:
        assert time.monotonic() < end, "no part was written"
        time.sleep(0.005)
    process.kill()
    process.wait()
    time.sleep(0.5)  # until its workers have ended, too
    assert len(run(tmp_path, workers=1).prepared) == 5
    prepare(tmp_path / "scans", tmp_path / "undisturbed", codes="phantom", salt=SALT, workers=2)
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


def test_control_characters_of_a_header_are_shown_as_escapes(tmp_path, files, inline):
    files.nrrd(tmp_path / "scans" / "a.nrrd", files.chest(), **{"space units": ["m\x1b[2J"] * 3})
    (left,) = run(tmp_path).quarantined
    assert "m\\x1b[2J" in left.reason


@pytest.mark.parametrize("missing", [["ImagePositionPatient"], ["ImagePositionPatient", "ImageOrientationPatient"]])
def test_a_scan_of_one_slice_needs_no_position(tmp_path, files, inline, missing):
    """The slices are those of the same file with a position, and a note states what is missing."""
    hu = files.chest(1)
    for name, without in (("with", []), ("without", missing)):
        files.series(tmp_path / name / "scans", hu, **dict.fromkeys(without))
    one, other = (run(tmp_path / name).prepared[0] for name in ("with", "without"))
    assert not [note for note in one.notes if "ImagePositionPatient" in note]
    (note,) = [note for note in other.notes if "ImagePositionPatient" in note]
    assert note.startswith(f"the file has no {' and no '.join(missing)}, which a scan of one slice does not need")
    assert ("axial" in note) == (len(missing) == 2)
    with_position, without_position = (Slices(tmp_path / name / "out").images([0]) for name in ("with", "without"))
    assert np.array_equal(with_position, without_position)
