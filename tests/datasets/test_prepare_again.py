"""A second preparation: what is kept, replaced or refused if scans, labels or settings have changed."""

import json
import os

import numpy as np
import pytest
from preparing import prepare
from test_prepare import SALT, content, run

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.store.parts import Parts, WritableParts


def test_a_second_run_keeps_finished_parts_and_restores_a_lost_one_byte_for_byte(tmp_path, files, inline):
    for i in range(3):
        files.series(tmp_path / "scans" / f"p{i}", files.chest(seed=i), patient=f"P-{i}")
    run(tmp_path)
    before = content(tmp_path / "out")
    again = run(tmp_path)
    assert [scan.kept for scan in again.prepared] == [True] * 3
    assert content(tmp_path / "out") == before
    manifest = json.loads(before["manifest.json"])
    lost = manifest["parts"].pop(1)  # as if the run was killed before it wrote the row of this part
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    third = run(tmp_path)
    assert sorted(scan.kept for scan in third.prepared) == [False, True, True]
    assert [scan.series for scan in third.prepared if not scan.kept] == [lost["name"]]
    assert content(tmp_path / "out") == before


def test_a_modified_scan_or_code_table_is_prepared_again(tmp_path, files, inline):
    hu = files.chest()
    files.series(tmp_path / "scans" / "a" / "ct", hu, series="1.2.3")
    files.nifti(tmp_path / "scans" / "a" / "labels.nii.gz", files.codes(hu))
    files.nrrd(tmp_path / "scans" / "b" / "ct.nrrd", files.chest(seed=1))
    run(tmp_path)
    table = tmp_path / "mine.toml"
    table.write_text("[codes]\n0='outside'\n1='healthy'\n2='reticular'\n5='emphysema'\n")
    report = run(tmp_path, codes=table)
    assert [scan.kept for scan in report.prepared] == [False, True]
    counts = Slices(tmp_path / "out").counts
    assert counts[:, 1].max() > 0
    assert counts[:, 0].max() <= 0
    files.nrrd(tmp_path / "scans" / "b" / "ct.nrrd", files.chest(5, seed=2))
    assert [scan.kept for scan in run(tmp_path, codes=table).prepared] == [True, False]
    assert {path.suffix for path in (tmp_path / "out").iterdir() if path.name != ".lock"} == {".h5", ".json"}


def test_a_run_killed_while_replacing_a_part_leaves_no_row_for_other_content(tmp_path, files, inline, monkeypatch):
    hu = files.chest()
    files.nrrd(tmp_path / "scans" / "a" / "ct.nrrd", hu)
    files.nifti(tmp_path / "scans" / "a" / "labels.nii.gz", files.codes(hu))
    run(tmp_path)
    before = Slices(tmp_path / "out")
    files.nifti(tmp_path / "scans" / "a" / "labels.nii.gz", np.roll(files.codes(hu), 9, axis=2))

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    monkeypatch.setattr(WritableParts, "add", killed)
    with pytest.raises(Killed):
        run(tmp_path)
    monkeypatch.undo()
    left = Parts(tmp_path / "out")
    assert left.verify() == []
    assert left.rows == {}
    run(tmp_path)
    after = Slices(tmp_path / "out")
    assert after.parts.verify() == []
    assert after.key != before.key


def test_without_codes_a_corrupt_part_is_prepared_again(tmp_path, files, inline):
    path = files.nrrd(tmp_path / "scans" / "a" / "ct.nrrd", files.chest())
    run(tmp_path, codes=None)
    part = next((tmp_path / "out").glob("*.h5"))
    part.write_bytes(part.read_bytes()[:1000])
    os.utime(path, ns=(1, 1))  # the scan has another file time as well
    assert [scan.kept for scan in run(tmp_path, codes=None).prepared] == [False]
    assert Parts(tmp_path / "out").verify() == []


def test_another_salt_needs_another_folder(tmp_path, files, inline):
    files.series(tmp_path / "scans", files.chest())
    run(tmp_path)
    with pytest.raises(InputError, match="made with other settings"):
        run(tmp_path, salt="fedcba9876543210")
    with pytest.raises(InputError, match="salt must not be empty"):
        run(tmp_path, salt="")


def test_a_refused_scan_replaces_nothing_and_the_report_says_so(tmp_path, files, inline):
    scans = tmp_path / "scans"
    files.series(scans / "a", files.chest())
    paths = files.series(scans / "b", files.chest(seed=1), patient="P-2")
    run(tmp_path)
    before = content(tmp_path / "out")
    paths[3].unlink()
    report = run(tmp_path)
    assert [scan.source.name for scan in report.prepared] == ["a"]
    (left,) = report.quarantined
    assert left.reason.endswith("; slices of an earlier run were kept: 6")
    assert (report.removed, content(tmp_path / "out")) == ([], before)


def test_an_incomplete_code_table_removes_no_labelled_slice(tmp_path, files, inline):
    hu = files.chest()
    files.series(tmp_path / "scans" / "a" / "ct", hu)
    files.nifti(tmp_path / "scans" / "a" / "labels.nii.gz", files.codes(hu))
    run(tmp_path)
    before = content(tmp_path / "out")
    table = tmp_path / "incomplete.toml"
    table.write_text("[codes]\n0='outside'\n1='healthy'\n")
    report = run(tmp_path, codes=table)
    (left,) = report.quarantined
    assert "got unknown codes 2, 5" in left.reason
    assert "slices of an earlier run were kept: 6" in left.reason
    assert content(tmp_path / "out") == before
    assert Slices(tmp_path / "out").labelled.all()


@pytest.mark.parametrize("change", ["no label map", "a map without lung"])
def test_a_scan_without_labels_does_not_replace_a_labelled_one(tmp_path, files, inline, change):
    hu = files.chest()
    files.series(tmp_path / "scans" / "a" / "ct", hu)
    label = files.nifti(tmp_path / "scans" / "a" / "labels.nii.gz", files.codes(hu))
    run(tmp_path)
    before = content(tmp_path / "out")
    if change == "no label map":
        label.unlink()
    else:
        files.nifti(label, np.zeros(hu.shape, np.uint8))
    (scan,) = run(tmp_path).prepared
    assert scan.kept
    assert scan.labelled
    assert any("labelled slices of an earlier run were kept" in note for note in scan.notes)
    assert content(tmp_path / "out") == before


def test_a_damaged_part_of_a_refused_scan_is_removed_and_counted(tmp_path, files, inline):
    paths = files.series(tmp_path / "scans" / "b", files.chest())
    files.series(tmp_path / "scans" / "a", files.chest(seed=1), patient="P-2")
    run(tmp_path)
    (name,) = {row.name for row in Parts(tmp_path / "out").rows.values()} - {
        scan.series for scan in run(tmp_path).prepared if scan.source.name == "a"
    }
    part = tmp_path / "out" / f"{name}.h5"
    part.write_bytes(part.read_bytes()[:1000])
    paths[3].unlink()
    (removed,) = run(tmp_path).removed
    assert (removed.series, removed.slices) == (name, 6)
    assert "its part was missing or corrupt" in removed.reason
    assert len(Slices(tmp_path / "out")) == 6


def test_a_duplicate_that_leaves_the_store_is_reported_and_counted(tmp_path, files, inline):
    hu = files.chest()
    files.series(tmp_path / "scans" / "a", hu, patient="P-1")
    run(tmp_path)
    (before,) = Parts(tmp_path / "out").rows
    labelled = tmp_path / "more" / "b"
    files.series(labelled / "ct", hu, patient="P-1")
    files.nifti(labelled / "labels.nii.gz", files.codes(hu))
    report = prepare(tmp_path / "more", tmp_path / "out", codes="phantom", salt=SALT)
    assert [(one.series, one.slices, one.labelled) for one in report.removed] == [(before, 6, False)]
    assert report.to_dict()["removed"][0]["slices"] == 6


def test_a_replaced_part_that_is_then_removed_as_a_duplicate_is_reported(tmp_path, files, inline):
    files.series(tmp_path / "scans" / "a", files.chest(), patient="P-1", series="1.2.1")
    ((before, _),) = [(scan.series, scan.kept) for scan in run(tmp_path).prepared]
    hu = files.chest(seed=1)
    files.series(tmp_path / "scans" / "a", hu, patient="P-1", series="1.2.1")
    files.series(tmp_path / "scans" / "b" / "ct", hu, patient="P-1", series="1.2.2")
    files.nifti(tmp_path / "scans" / "b" / "labels.nii.gz", files.codes(hu))
    report = run(tmp_path)
    assert [left.source.name for left in report.quarantined] == ["a"]
    assert [(one.series, one.slices) for one in report.removed] == [(before, 6)]


def test_scans_of_another_folder_are_added(tmp_path, files, inline):
    files.series(tmp_path / "scans", files.chest())
    files.series(tmp_path / "more", files.chest(seed=1), patient="P-2")
    run(tmp_path)
    prepare(tmp_path / "more", tmp_path / "out", codes="phantom", salt=SALT)
    assert len(Slices(tmp_path / "out")) == 12
