"""The patient of a DICOM series: its PatientID, or its folder or study where PatientIDs were removed or replaced."""

from pathlib import PurePath

import numpy as np
import pytest
from test_prepare import SALT, run

from ildfv.datasets.identity import hashed
from ildfv.datasets.naming import person_of, stem
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError


def cohort(tmp_path, files, patient="ANONYMIZED", n=3):
    for number in range(n):
        hu = files.chest(seed=number)
        files.series(tmp_path / f"scans/e{number}/ct", hu, patient=patient, series=f"1.2.{number}")


def notes(report):
    return [[note for note in scan.notes if "studies" in note] for scan in report.prepared]


@pytest.mark.parametrize("patient", ["ANONYMIZED", "0", "P-17"])
def test_a_patient_id_of_several_studies_is_reported_with_the_remedy(tmp_path, files, inline, patient):
    cohort(tmp_path, files, patient)
    for _ in range(2):  # the scans are prepared first, then kept
        report = run(tmp_path)
        assert len({scan.patient for scan in report.prepared}) == 1
        for (note,) in notes(report):
            assert note.startswith("the PatientID is in 3 studies, which count as one patient")
            assert "--patient-from folder" in note


def test_one_study_with_several_series_is_not_reported(tmp_path, files, inline):
    for number in range(2):
        files.series(tmp_path / f"scans/{number}", files.chest(seed=number), StudyInstanceUID="1.2.3")
    assert notes(run(tmp_path)) == [[], []]


@pytest.mark.parametrize("source", ["folder", "study"])
@pytest.mark.parametrize("patient", ["ANONYMIZED", "", None])
def test_patients_can_be_distinguished_by_folder_or_study(tmp_path, files, inline, source, patient):
    cohort(tmp_path, files, "P-1")
    for number in range(3):
        hu = files.chest(seed=number)
        files.series(tmp_path / f"scans/e{number}/ct", hu, series=f"1.2.{number}", PatientID=patient)
    report = run(tmp_path, patient_from=source)
    names = [f"e{number}" if source == "folder" else f"1.2.{number}.1" for number in range(3)]
    assert [scan.patient for scan in report.prepared] == [hashed(name, SALT) for name in names]
    assert set(Slices(tmp_path / "out").patients) == {hashed(name, SALT) for name in names}
    assert notes(report) == [[], [], []]


def test_without_a_patient_id_the_scan_is_refused_with_the_remedy(tmp_path, files, inline):
    cohort(tmp_path, files, "", n=1)
    (left,) = run(tmp_path).quarantined
    assert "PatientID must not be empty" in left.reason
    assert "--patient-from folder" in left.reason


def test_another_source_prepares_the_scan_again_and_the_same_one_keeps_it(tmp_path, files, inline):
    cohort(tmp_path, files, n=2)
    kept = []
    for source in ("id", "study", "study", "folder", "id"):
        kept.append({scan.kept for scan in run(tmp_path, patient_from=source).prepared})
    assert kept == [{False}, {False}, {True}, {False}, {False}]
    assert len(np.unique(Slices(tmp_path / "out").patients)) == 1


def test_a_series_without_a_folder_or_study_of_its_own_is_refused(tmp_path, files, inline):
    files.series(tmp_path / "scans", files.chest(), StudyInstanceUID=None)
    (left,) = run(tmp_path, patient_from="folder").quarantined
    assert "must be in one folder of the input, got files directly in the input folder" in left.reason
    (left,) = run(tmp_path, patient_from="study").quarantined
    assert "StudyInstanceUID must be present with --patient-from study, got none" in left.reason
    (tmp_path / "scans/a").mkdir()
    (tmp_path / "scans/b").mkdir()
    for number, path in enumerate(sorted((tmp_path / "scans").glob("*.dcm"))):
        path.rename(tmp_path / "scans" / "ab"[number % 2] / path.name)
    (left,) = run(tmp_path, patient_from="folder").quarantined
    assert "got files in 2 folders" in left.reason


def test_an_unknown_source_is_refused_before_anything_is_read(tmp_path, files):
    cohort(tmp_path, files, n=1)
    with pytest.raises(InputError, match="patient_from must be one of id, folder, study, got 'name'"):
        run(tmp_path, patient_from="name")


def test_a_phantom_is_labelled_as_phantom_for_every_source_of_the_patient(tmp_path, files, inline):
    cohort(tmp_path, files, "PHANTOM-1", n=1)
    for source in ("id", "folder", "study"):
        run(tmp_path, patient_from=source)
        assert Slices(tmp_path / "out").data == "phantom"


def test_each_volume_file_named_by_uid_is_a_separate_patient(tmp_path, files, inline):
    names = ["1.3.6.1.4.1.14519.5.2.1.1001", "1.3.6.1.4.1.14519.5.2.1.1002", "case.v2", "case.v3"]
    for number, name in enumerate(names):
        suffix = (".nii", ".nii.gz", ".nrrd", ".NRRD")[number]
        write = files.nrrd if suffix.lower() == ".nrrd" else files.nifti
        write(tmp_path / "scans" / f"{name}{suffix}", files.chest(seed=number))
    report = run(tmp_path)
    assert sorted(scan.patient for scan in report.prepared) == sorted(hashed(name, SALT) for name in names)


@pytest.mark.parametrize(
    ("name", "own"), [("1.2.840.1.nii.gz", "1.2.840.1"), ("a.b.NII.GZ", "a.b"), ("p01.nrrd", "p01"), ("1.2.3", "1.2.3")]
)
def test_only_the_suffix_of_the_format_is_not_part_of_the_name(name, own):
    assert stem(name) == own


@pytest.mark.parametrize("patient", ["P-7", ""])
def test_a_patient_listed_in_a_table_needs_no_patient_id(tmp_path, files, inline, patient):
    cohort(tmp_path, files, "", n=1)
    (tmp_path / "table.csv").write_text(f"scan,patient\ne0,{patient}\n")
    report = run(tmp_path, table=tmp_path / "table.csv")
    if patient:
        assert [scan.patient for scan in report.prepared] == [hashed("P-7", SALT)]
    else:
        (left,) = report.quarantined
        assert "PatientID must not be empty" in left.reason


@pytest.mark.parametrize(
    ("path", "patient", "of_folder"),
    [
        ("anna/2019/ct.nii.gz", "anna", True),
        ("anna.nii.gz", "anna", False),
        ("1.2.840.113.7.nii.gz", "1.2.840.113.7", False),
        ("scans/anna/2019.nrrd", "anna", True),
        ("ct/anna.nrrd", "anna", False),
        ("train/p1/ct.nii", "p1", True),
        ("test/p2.nii", "p2", False),
        ("imagesTr/case_01_0000.nii.gz", "case_01", False),
        ("Task06_Lung/imagesTs/lung_002.nii.gz", "lung_002", False),
        ("imagesTr/anna/t0_0000.nii.gz", "anna", True),
        ("sub-01/ses-2/ct/sub-01_ses-2_ct.nii.gz", "sub-01", True),
        ("rawdata/sub-01/ct/sub-01_ct.nii.gz", "sub-01", True),
        ("derivatives/denoised/sub-01/sub-01_ct.nii.gz", "sub-01", True),
        ("siteA/sub-01/sub-01_ct.nii.gz", "siteA/sub-01", True),
        ("anna.zip/ct.nii.gz", "anna", True),
        ("images.zip/anna.nii.gz", "anna", False),
    ],
)
def test_the_patient_of_a_volume_file_is_named_by_its_path(path, patient, of_folder):
    assert person_of(PurePath(path)) == (patient, of_folder)
