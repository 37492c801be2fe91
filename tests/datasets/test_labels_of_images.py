"""Labels and patients of images from a CSV file: names of files, copies, and the notes in the report."""

import csv

import pytest
from grey_images import WINDOW, chest, grey, save
from preparing import in_this_process

from ildfv.errors import InputError
from ildfv.patterns import PATTERNS, presence
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.workspace import Workspace


def prepared_with(folder, header, rows, **options):
    """The report of `prepare` for images in `folder`/scans and a table of labels."""
    with (folder / "slices.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    with in_this_process():
        return prepare_scans(
            folder / "scans", folder / "study", grey=WINDOW, labels=folder / "slices.csv", salt="ab" * 8, **options
        )


@pytest.mark.parametrize(("column", "notes"), [("emphysema", 0), ("emphysema pixels", 1)])
def test_the_threshold_is_mentioned_only_if_labels_are_pixel_counts(tmp_path, column, notes):
    rows = []
    for number in range(3):
        save(tmp_path / f"scans/{number}.png", grey(chest(number)))
        rows.append([f"scans/{number}.png", number % 2])
    report = prepared_with(tmp_path, ["file", column], rows)
    for scan in report["prepared"]:
        assert sum("threshold T" in note for note in scan["notes"]) == notes


def test_the_remedy_for_one_image_of_two_patients_names_the_option_with_the_patients(tmp_path):
    rows = []
    for number in range(4):
        save(tmp_path / f"scans/{number}.png", grey(chest(min(number, 2))))  # 3 is a copy of 2
        rows.append([f"scans/{number}.png", ["A", "A", "A", "B"][number], 1])
    report = prepared_with(tmp_path, ["file", "patient", "emphysema"], rows)
    reasons = {one["source"][-5:]: one["reason"] for one in report["quarantined"]}
    assert reasons["3.png"].endswith("2.png, which has another patient")
    rows[2][1], rows[3][1] = "B", "A"  # the copy that is kept is of B, so the other images of A are removed
    report = prepared_with(tmp_path, ["file", "patient", "emphysema"], rows)
    reasons = {one["source"][-5:]: one["reason"] for one in report["quarantined"]}
    assert len(reasons) == 3
    assert reasons["0.png"].endswith(
        "which has another patient: give both the same patient in the column patient of --labels"
    )


def two_images(folder, name):
    """Two images below `folder`/scans, of which `name` names the first, and the labelled patterns of the first."""
    save(folder / "scans" / "a" / "slice1.tiff", grey(chest(1)))
    save(folder / "scans" / "b" / "slice2.tiff", grey(chest(2)))
    report = prepared_with(folder, ["FILE", "Emphysema"], [[name, "Yes"], ["scans/b/slice2.tiff", "FALSE"]])
    assert report["labelled_slices"] == 2
    slices = Workspace.open(folder / "study").slices()
    return presence(slices.counts)[:, PATTERNS.index("emphysema")].tolist()


@pytest.mark.parametrize(
    "name", ["scans/a/slice1.tiff", "a/slice1.tiff", "slice1.tiff", "slice1", "a\\slice1", "./A/SLICE1.TIFF"]
)
def test_an_image_is_named_by_its_path_or_by_its_name(tmp_path, name):
    assert sorted(two_images(tmp_path, name)) == [0, 1]


def test_a_name_of_several_images_is_refused(tmp_path):
    save(tmp_path / "scans" / "c" / "slice1.png", grey(chest(3)))
    with pytest.raises(
        InputError, match=r"line 2: file must name one path, got 'slice1', which may be a/slice1.tiff, c/"
    ):
        two_images(tmp_path, "slice1")
    assert not (tmp_path / "study").exists()


def test_a_file_that_does_not_exist_is_refused_although_no_image_has_a_patient(tmp_path):
    """Images without a row with a patient are quarantined, so here every image is."""
    save(tmp_path / "scans" / "slice1.tiff", grey(chest(1)))
    with pytest.raises(InputError, match=r"line 2: file must exist, got 'slice01'; paths are relative to .* or to the"):
        prepared_with(tmp_path, ["file", "patient", "emphysema"], [["slice01", "A", 1]])
