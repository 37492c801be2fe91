"""Assignment of label maps to scans, refusal of ambiguous cases, and the patients of scans."""

import os
from pathlib import Path, PurePath

import pytest

from ildfv.datasets.discovery import discover
from ildfv.datasets.naming import is_label_map, words
from ildfv.errors import InputError


def paired(folder):
    found = discover(folder)
    scans = {scan.source.name: "; ".join(label.path.name for label in scan.labels) or None for scan in found.scans}
    return scans, {left.source.name: left.reason for left in found.quarantined}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("labels.nii.gz", True),
        ("lung1_label.nrrd", True),
        ("lm-64.nrrd", True),
        ("crop_ct_partialLungLabelMap.nrrd", True),
        ("case-3-SEG.nii", True),
        ("segmentation.nii.gz", True),
        ("image.nii.gz", False),
        ("film.nrrd", False),
        ("labelled.nii", False),
        ("relm.nrrd", False),
        ("LM01.nii.gz", False),
        ("labelsTr/case_01.nii.gz", True),
        ("p1/masks/train/p1.nii.gz", True),
        ("imagesTr/case_01_0000.nii.gz", False),
        ("sub-01_ct_dseg.nii.gz", True),
        ("p1/scan 2.seg.nrrd", True),
    ],
)
def test_a_label_map_is_recognised_by_the_words_of_its_name_or_folder(name, label):
    assert is_label_map(PurePath(name)) == label


def test_names_are_divided_into_words():
    assert words("chestLabelMap-02") == ("chest", "label", "map", "02")


@pytest.mark.parametrize("where", ["labels.nii.gz", "ct/labels.nrrd"])
def test_a_label_map_in_the_folder_of_the_series_or_above_is_paired(tmp_path, files, where):
    hu = files.chest()
    files.series(tmp_path / "p1" / "ct", hu)
    write = files.nifti if where.endswith("gz") else files.nrrd
    write(tmp_path / "p1" / where, files.codes(hu))
    assert paired(tmp_path) == ({"ct": where.split("/")[-1]}, {})


def test_the_current_folder_can_be_given_as_a_dot(tmp_path, files, monkeypatch):
    hu = files.chest()
    files.nifti(tmp_path / "ct.nii.gz", hu)
    files.nifti(tmp_path / "labels.nii.gz", files.codes(hu))
    monkeypatch.chdir(tmp_path)
    assert paired(Path(".")) == ({"ct.nii.gz": "labels.nii.gz"}, {})


@pytest.mark.parametrize("content", [b"", b"x", b"\x1f\x8b\x08"])
def test_a_scan_is_not_used_without_its_unreadable_label_map(tmp_path, files, content):
    files.series(tmp_path / "p1" / "ct", files.chest())
    files.nifti(tmp_path / "p2" / "ct.nii.gz", files.chest(seed=1))
    for patient in ("p1", "p2"):
        (tmp_path / patient / "labels.nii.gz").write_bytes(content)
    scans, reasons = paired(tmp_path)
    assert scans == {}
    assert sorted(reasons) == ["ct", "ct.nii.gz"]
    assert all(
        reason.startswith("label map labels.nii.gz cannot be read: labels.nii.gz must be NIfTI")
        for reason in reasons.values()
    ), reasons


def test_an_unreadable_label_map_near_many_scans_quarantines_none_of_them(tmp_path, files):
    for number in "12":
        files.nifti(tmp_path / "p" / f"ct{number}.nii.gz", files.chest(seed=int(number)))
    (tmp_path / "p" / "labels.nii.gz").write_bytes(b"x")
    scans, reasons = paired(tmp_path)
    assert scans == {"ct1.nii.gz": None, "ct2.nii.gz": None}
    assert sorted(reasons) == ["labels.nii.gz"]


def test_a_label_map_belongs_to_the_conversion_in_its_folder(tmp_path, files):
    hu = files.chest()
    files.series(tmp_path / "p1" / "dicom", hu)
    files.nifti(tmp_path / "p1" / "ct.nii.gz", hu)
    files.nifti(tmp_path / "p1" / "labels.nii.gz", files.codes(hu))
    assert paired(tmp_path) == ({"dicom": None, "ct.nii.gz": "labels.nii.gz"}, {})


def test_a_label_map_elsewhere_is_quarantined_and_the_scan_is_unlabelled(tmp_path, files):
    hu = files.chest()
    files.series(tmp_path / "p1" / "ct", hu)
    files.nifti(tmp_path / "p1" / "results" / "labels.nii.gz", files.codes(hu))
    scans, quarantined = paired(tmp_path)
    assert scans == {"ct": None}
    assert (
        "must be in the folder of its scan or a folder above it, got no usable scan there"
        in quarantined["labels.nii.gz"]
    )


def test_a_label_map_of_another_shape_quarantines_the_scan(tmp_path, files):
    hu = files.chest()
    files.series(tmp_path / "p1" / "ct", hu)
    files.nifti(tmp_path / "p1" / "labels.nii.gz", files.codes(hu)[:5])
    found = discover(tmp_path)
    assert not found.scans
    (left,) = found.quarantined
    assert left.reason == (
        "label map labels.nii.gz must have shape (6, 64, 64) (slices, rows, columns), got (5, 64, 64). "
        "See docs/faq.md#faq-label-grid"
    )
    assert left.files == 7


@pytest.mark.parametrize("shift", [(0, 0, 5.0), (2.0, 0, 0), (0, -1.0, 0)])
def test_a_label_map_with_another_affine_quarantines_the_scan(tmp_path, files, shift):
    hu = files.chest()
    files.series(tmp_path / "p1" / "ct", hu)
    affine = files.affine()
    affine[:3, 3] += shift
    files.nifti(tmp_path / "p1" / "labels.nii.gz", files.codes(hu), affine=affine)
    scans, quarantined = paired(tmp_path)
    assert not scans
    assert f"differs by {max(map(abs, shift)):.3g} mm" in quarantined["ct"]


def test_rounding_in_an_affine_is_tolerated(tmp_path, files):
    hu = files.chest()
    files.series(tmp_path / "p1" / "ct", hu)
    files.nifti(tmp_path / "p1" / "labels.nii.gz", files.codes(hu), affine=files.affine() + 1e-3)
    assert paired(tmp_path)[0] == {"ct": "labels.nii.gz"}


def test_names_distinguish_scans_of_one_grid(tmp_path, files):
    for name in ("lung1", "lung2"):
        hu = files.chest(seed=len(name))
        files.nrrd(tmp_path / "p" / f"{name}_image.nrrd", hu)
        files.nrrd(tmp_path / "p" / f"{name}_label.nrrd", files.codes(hu))
    assert paired(tmp_path) == ({"lung1_image.nrrd": "lung1_label.nrrd", "lung2_image.nrrd": "lung2_label.nrrd"}, {})


def test_grids_distinguish_scans_of_any_name(tmp_path, files):
    files.nrrd(tmp_path / "p" / "first.nrrd", files.chest(5))
    files.nrrd(tmp_path / "p" / "second.nrrd", files.chest(7))
    files.nrrd(tmp_path / "p" / "lm.nrrd", files.codes(files.chest(7)))
    assert paired(tmp_path) == ({"first.nrrd": None, "second.nrrd": "lm.nrrd"}, {})


def test_one_label_map_for_two_similar_scans_is_refused(tmp_path, files):
    files.nrrd(tmp_path / "p" / "sharp.nrrd", files.chest(5, seed=1))
    files.nrrd(tmp_path / "p" / "soft.nrrd", files.chest(5, seed=2))
    files.nrrd(tmp_path / "p" / "labels.nrrd", files.codes(files.chest(5)))
    scans, quarantined = paired(tmp_path)
    assert scans == {"sharp.nrrd": None, "soft.nrrd": None}
    assert "got 2 scans nearby, 2 of them with its grid; use `prepare --table`" in quarantined["labels.nrrd"]


def test_a_scan_may_have_several_label_maps(tmp_path, files):
    hu = files.chest()
    files.series(tmp_path / "p1" / "ct", hu)
    files.nifti(tmp_path / "p1" / "labels.nii.gz", files.codes(hu))
    files.nifti(tmp_path / "p1" / "labels-reviewed.nii.gz", files.codes(hu))
    assert paired(tmp_path) == ({"ct": "labels-reviewed.nii.gz; labels.nii.gz"}, {})


def test_a_label_map_of_a_damaged_scan_names_it(tmp_path, files):
    hu = files.chest()
    files.nifti(tmp_path / "p1/t0.nii.gz", hu)
    damaged = files.nifti(tmp_path / "p1/t1.nii.gz", hu)
    damaged.write_bytes(damaged.read_bytes()[:40])
    files.nifti(tmp_path / "p1/t1_label.nii.gz", files.codes(hu))
    scans, quarantined = paired(tmp_path)
    assert scans == {"t0.nii.gz": None}
    assert quarantined["t1_label.nii.gz"].startswith("its scan may be t1.nii.gz, which cannot be used: ")


def test_a_label_map_of_a_missing_scan_names_it(tmp_path, files):
    hu = files.chest()
    files.nifti(tmp_path / "alice.nii.gz", hu)
    files.nifti(tmp_path / "bob_label.nii.gz", files.codes(hu))
    files.series(tmp_path / "carl" / "series", hu)
    files.nifti(tmp_path / "carl" / "ct_label.nii.gz", files.codes(hu))
    files.nifti(tmp_path / "dora" / "baseline.nii.gz", hu)
    files.nifti(tmp_path / "dora" / "ct_label.nii.gz", files.codes(hu))
    scans, quarantined = paired(tmp_path)
    assert scans == {"alice.nii.gz": None, "series": "ct_label.nii.gz", "baseline.nii.gz": None}
    assert quarantined["bob_label.nii.gz"].startswith(
        'a label map must have the name of its scan, here "bob", got alice.nii.gz'
    )
    assert quarantined["ct_label.nii.gz"].startswith("a label map must be in the folder of its scan")


def test_a_usable_series_with_damaged_slices_keeps_its_label_map(tmp_path, files):
    hu = files.chest(7)
    paths = files.series(tmp_path / "p1/ct", hu)
    paths[0].write_bytes(b"")
    files.nifti(tmp_path / "p1/labels.nii.gz", files.codes(hu)[1:], affine=affine_above_the_first_slice(files))
    scans, quarantined = paired(tmp_path)
    assert scans == {"ct": "labels.nii.gz"}
    assert list(quarantined) == [paths[0].name]


def affine_above_the_first_slice(files):
    affine = files.affine()
    affine[2, 3] += files.spacing[0]
    return affine


def test_a_label_map_of_a_damaged_series_is_not_paired_with_another_one(tmp_path, files):
    files.series(tmp_path / "p1/t0", files.chest())
    damaged = files.series(tmp_path / "p1/t1", files.chest(seed=1))
    damaged[0].write_bytes(b"")
    files.nifti(tmp_path / "p1/labels.nii.gz", files.codes(files.chest(seed=1)))
    scans, quarantined = paired(tmp_path)
    assert scans == {"t0": None, "t1": None}
    assert "because files of t1 are unreadable" in quarantined["labels.nii.gz"]


def test_a_label_map_above_the_folders_of_several_patients_is_refused(tmp_path, files):
    files.series(tmp_path / "p1", files.chest(5), patient="P-1")
    files.series(tmp_path / "p2", files.chest(7), patient="P-2")
    files.nrrd(tmp_path / "labels.nrrd", files.codes(files.chest(7)))
    scans, quarantined = paired(tmp_path)
    assert scans == {"p1": None, "p2": None}
    assert "must have the name of one scan, got none of p1, p2" in quarantined["labels.nrrd"]


def test_a_label_map_may_contain_the_series_uid_in_its_name(tmp_path, files):
    hu = files.chest()
    for number in (1, 2):
        files.series(tmp_path / f"dicom/{number}", hu, series=f"1.2.840.5.{number}", patient=f"P-{number}")
        files.nifti(tmp_path / f"annotations/1.2.840.5.{number}.nii.gz", files.codes(hu))
    files.nifti(tmp_path / "annotations/1.2.840.5.3.nii.gz", files.codes(hu))
    scans, quarantined = paired(tmp_path)
    assert scans == {"1": "1.2.840.5.1.nii.gz", "2": "1.2.840.5.2.nii.gz"}
    assert 'here "1.2.840.5.3"' in quarantined["1.2.840.5.3.nii.gz"]


def test_patients_of_files_are_folders_under_the_root(tmp_path, files):
    for i, where in enumerate(("anna/visit1/ct.nii.gz", "anna/visit2/ct.nrrd", "bert/ct.nii", "carl.nii.gz")):
        (files.nrrd if where.endswith("nrrd") else files.nifti)(tmp_path / where, files.chest(seed=i))
    patients = {scan.series: scan.patient for scan in discover(tmp_path).scans}
    assert patients == {
        "anna/visit1/ct.nii.gz": "anna",
        "anna/visit2/ct.nrrd": "anna",
        "bert/ct.nii": "bert",
        "carl.nii.gz": "carl",
    }


def test_without_a_code_table_label_maps_are_ignored_and_reported(tmp_path, files):
    files.nrrd(tmp_path / "p" / "ct.nrrd", files.chest())
    files.nrrd(tmp_path / "p" / "labels.nrrd", files.codes(files.chest()))
    found = discover(tmp_path, labels=False)
    assert [scan.labels for scan in found.scans] == [()]
    assert [left.reason for left in found.ignored] == ["label maps are not read without a code table"]


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one file, got an empty folder"):
        discover(tmp_path)
    with pytest.raises(InputError, match="existing folder or file"):
        discover(tmp_path / "none")


def test_files_that_are_not_regular_are_ignored_and_reported(tmp_path, files):
    files.nrrd(tmp_path / "p" / "ct.nrrd", files.chest())
    os.mkfifo(tmp_path / "p" / "pipe")
    reasons = {left.source.name: left.reason for left in discover(tmp_path).ignored}
    assert reasons == {"pipe": "not a regular file"}


def test_many_files_are_classified_in_parallel_and_returned_in_order(tmp_path, files, monkeypatch):
    monkeypatch.setattr("ildfv.datasets.classify.CHUNK", 8)
    for i in range(4):
        files.series(tmp_path / f"p{i}", files.chest(7, seed=i), patient=f"P-{i}")
    found = discover(tmp_path, workers=2)
    assert [scan.patient for scan in found.scans] == ["P-0", "P-1", "P-2", "P-3"]
