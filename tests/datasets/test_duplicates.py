"""Duplicate slices, also under two patient identities: which scan is kept, and which others are quarantined."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from preparing import prepare
from test_prepare import SALT, run
from test_slice_store import scan

from ildfv.datasets import duplicates
from ildfv.datasets.duplicates import find_duplicates
from ildfv.datasets.scan_part import write_scan
from ildfv.datasets.slice_store import Slices
from ildfv.progress import Lines
from ildfv.store.parts import Parts, writing_parts


def test_one_scan_under_two_patients_is_used_once(tmp_path, files, inline):
    scans = tmp_path / "scans"
    files.series(scans / "dicom", files.chest(), patient="P-1")
    files.nrrd(scans / "nrrd" / "ct.nrrd", files.chest())
    files.nrrd(scans / "other" / "ct.nrrd", files.chest(seed=1))
    for _ in range(2):
        report = run(tmp_path)
        assert [scan.source.name for scan in report.prepared] == ["dicom", "ct.nrrd"]
        (left,) = report.quarantined
        assert left.source.parent.name == "nrrd"
        assert left.reason.endswith("dicom, which has another patient")


def test_a_series_is_kept_instead_of_its_conversion_for_any_names(tmp_path, files, inline):
    scans = tmp_path / "scans"
    files.nifti(scans / "Converted" / "case17.nii.gz", files.chest())
    files.series(scans / "PAT1" / "series1", files.chest(), patient="P-1", series="1.2.1")
    files.series(scans / "PAT1" / "series2", files.chest(seed=1), patient="P-1", series="1.2.2")
    report = run(tmp_path)
    assert [scan.source.name for scan in report.prepared] == ["series1", "series2"]
    assert len({scan.patient for scan in report.prepared}) == 1
    assert [left.source.name for left in report.quarantined] == ["case17.nii.gz"]


def test_scans_of_a_person_with_two_identities_are_kept_under_one_of_them_only(tmp_path, files, inline):
    """A labelled conversion replaces its series. Other series of that person would count as a second patient."""
    scans = tmp_path / "scans"
    files.nifti(scans / "Converted" / "case17.nii.gz", files.chest())
    files.nifti(scans / "Converted" / "case17-label.nii.gz", files.codes(files.chest()))
    files.series(scans / "PAT1" / "series1", files.chest(), patient="P-1", series="1.2.1")
    files.series(scans / "PAT1" / "series2", files.chest(seed=1), patient="P-1", series="1.2.2")
    files.series(scans / "PAT2", files.chest(seed=2), patient="P-2", series="1.2.3")
    for _ in range(2):
        report = run(tmp_path)
        assert [scan.source.name for scan in report.prepared] == ["case17.nii.gz", "PAT2"]
        reasons = {left.source.name: left.reason for left in report.quarantined}
        assert reasons["series1"].endswith("case17.nii.gz, which has another patient")
        assert reasons["series2"].startswith(
            "its patient must have one identity, but a scan of this patient duplicates "
        )
        assert len(Parts(tmp_path / "out").rows) == 2
    assert len(Slices(tmp_path / "out")) == 12


def test_an_incomplete_copy_is_refused_only_under_another_patient(tmp_path, files, inline):
    hu = files.chest(8)
    files.series(tmp_path / "scans/a", hu, patient="P-1", series="1.2.1")
    files.series(tmp_path / "scans/b", hu[1:], patient="TRIAL-17", series="1.2.2")
    files.series(tmp_path / "scans/c", hu[:5], patient="P-1", series="1.2.3")
    report = run(tmp_path)
    assert [scan.source.name for scan in report.prepared] == ["a", "c"]
    (left,) = report.quarantined
    assert left.source.name == "b"
    rule = "must not duplicate another scan"
    assert left.reason == f"{rule}, got slices of {tmp_path}/scans/a, which has another patient"


def test_a_labelled_scan_replaces_its_duplicate_and_all_scans_of_the_other_patient(tmp_path, files, inline):
    files.series(tmp_path / "scans/a", files.chest(), patient="P-1", series="1.2.1")
    files.series(tmp_path / "scans/b", files.chest(seed=1), patient="P-1", series="1.2.2")
    run(tmp_path)
    files.nifti(tmp_path / "more/case17.nii.gz", files.chest())
    files.nifti(tmp_path / "more/case17-label.nii.gz", files.codes(files.chest()))
    report = prepare(tmp_path / "more", tmp_path / "out", codes="phantom", salt=SALT)
    assert [scan.source.name for scan in report.prepared] == ["case17.nii.gz"]
    assert [left.source.parent for left in report.quarantined] == [tmp_path / "out"] * 2
    assert [left.files for left in report.quarantined] == [0, 0]
    reasons = sorted(left.reason for left in report.quarantined)
    assert reasons[0].startswith("its patient must have one identity")
    assert reasons[1].endswith("case17.nii.gz, which has another patient")
    assert len(Slices(tmp_path / "out")) == 6
    assert len(list((tmp_path / "out").glob("*.h5"))) == 1


def test_a_damaged_part_of_an_earlier_run_does_not_stop_other_scans(tmp_path, files, inline, caplog):
    files.series(tmp_path / "scans", files.chest())
    run(tmp_path)
    (part,) = (tmp_path / "out").glob("*.h5")
    part.write_bytes(part.read_bytes()[:-100])
    files.series(tmp_path / "more", files.chest(seed=1), patient="P-2")
    caplog.set_level(logging.INFO, logger="ildfv")
    report = prepare(tmp_path / "more", tmp_path / "out", codes="phantom", salt=SALT, progress=Lines())
    assert len(report.prepared) == 1
    assert f"not compared with other scans: {part}" in caplog.text
    assert part.exists()
    assert len(Parts(tmp_path / "out").verify()) == 1


def test_two_patients_of_one_study_are_reported(tmp_path, files, inline):
    for number, study in enumerate(("1.9", "1.9", "1.8", "")):
        hu = files.chest(seed=number)
        files.series(tmp_path / f"scans/{number}", hu, patient=f"P-{number}", StudyInstanceUID=study)
    notes = [[note for note in scan.notes if "study" in note] for scan in run(tmp_path).prepared]
    text = (
        "the study has scans of 2 different patients: if they are the same person, give them one PatientID or, "
        "with --patient-from folder, one folder"
    )
    assert notes == [[text]] * 2 + [[]] * 2


@pytest.mark.parametrize(("checksums", "compared"), [(True, 1), (False, 5)])
def test_images_are_compared_only_if_their_checksums_are_equal(tmp_path, monkeypatch, checksums, compared):
    """Scans of one slice often have equal numbers of lung pixels, such as 0, so that every pair would be compared."""
    with writing_parts(tmp_path, "key") as parts:
        for number in range(4):
            one = replace(scan(number, 1), patient=f"patient{number}", lung=np.zeros(1, int))
            if number == 3:
                one = replace(one, images=scan(2, 1).images)
            parts.add(write_scan(tmp_path, one, checksums=checksums or number > 0))  # one part of an earlier version
    pairs = []
    same = duplicates._same_images
    monkeypatch.setattr(duplicates, "_same_images", lambda *given: pairs.append(given) or same(*given))
    assert list(find_duplicates(Parts(tmp_path), {}, pytest.fail)) == ["series3"]
    assert len(pairs) == compared
