"""Labels of single slices: by position, instance or file; ambiguous rows are refused."""

import os

import numpy as np
import pytest
from preparing import in_this_process

from ildfv.datasets.label_file import read_label_file
from ildfv.errors import InputError
from ildfv.patterns import PATTERNS, PRESENT, UNLABELLED, presence
from ildfv.phantom import write_phantoms
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import Silent

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two DICOM phantoms without label maps, prepared."""
    folder = tmp_path_factory.mktemp("labels")
    write_phantoms(folder / "scans", patients=2, seed=1, slices_per_scan=4, workers=1)
    for path in (folder / "scans").rglob("*"):
        if path.is_file() and path.suffix != ".dcm":
            path.unlink()
    with in_this_process():
        prepare_scans(folder / "scans", folder / "study")
    return folder


class Notes(Silent):
    """Progress that collects its notes."""

    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def labelled(folder, text):
    """The slices of the study after `prepare --labels` with this CSV text."""
    (folder / "slices.csv").write_text(text)
    prepare_scans(folder / "scans", folder / "study", labels=folder / "slices.csv", workers=1)
    return Workspace.open(folder / "study").slices()


def files(folder):
    """The DICOM files of the first scan's series, by their position along z."""
    import pydicom

    found = {}
    for path in (folder / "scans").rglob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.Modality == "CT":
            found.setdefault(header.SeriesInstanceUID, []).append((float(header.ImagePositionPatient[2]), path, header))
    series = sorted(found)[0]
    return series, sorted(found[series], key=lambda one: one[0])


def test_file_instance_and_position_name_the_same_slice(prepared):
    series, slices = files(prepared)
    z, path, header = slices[2]
    name = path.relative_to(prepared)
    texts = (
        f"file,emphysema,ground glass\n{name},1,0\n",
        f"series,instance,emphysema,ground_glass\n{series},{header.InstanceNumber},1,0\n",
        f"series,position,emphysema,ground-glass\n{series},{z},1,0\n",
        f"scan,position,emphysema,ground glass\n{path.parent.relative_to(prepared)},{z},1,0\n",
    )
    every = [labelled(prepared, text) for text in texts]
    for found in every:
        (row,) = np.flatnonzero((found.counts >= 0).any(axis=1))
        assert found.positions[row] == pytest.approx(z, abs=0.01)
        assert dict(zip(PATTERNS, presence(found.counts, 1)[row].tolist(), strict=True)) == {
            "ground glass": 0, "reticular": -1, "honeycomb": -1, "emphysema": 1
        }  # fmt: skip
        assert found.key == every[0].key
    assert every[0].key != Workspace.open(prepared / "study").stored_slices().key


def test_presence_is_valid_for_every_threshold_and_counts_are_compared_with_it(prepared):
    series, slices = files(prepared)
    found = labelled(prepared, f"series,position,emphysema,honeycomb pixels\n{series},{slices[0][0]},1,500\n")
    (row,) = np.flatnonzero((found.counts >= 0).any(axis=1))
    assert found.counts[row].tolist() == [UNLABELLED, UNLABELLED, 500, PRESENT]
    for threshold, expected in ((400, 1), (600, 0)):
        assert presence(found.counts, threshold)[row].tolist() == [-1, -1, expected, 1]


def test_missing_label_maps_are_mentioned_only_without_other_labels(prepared):
    series, slices = files(prepared)
    (prepared / "slices.csv").write_text(f"series,position,emphysema\n{series},{slices[0][0]},1\n")
    for labels, mentioned in ((None, True), (prepared / "slices.csv", False)):
        notes = Notes()
        prepare_scans(prepared / "scans", prepared / "study", labels=labels, workers=1, progress=notes)
        assert any("Label maps were not read" in text for text in notes.texts) is mentioned


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("series,position,emphysema\n{s},{z},2\n", "line 2: emphysema must be 1, yes or true .*, got '2'"),
        (
            "series,position,emphysema\n{s},{z},1\n{s},{z},1\n",
            "line 3: a slice must have only one row, got a second row",
        ),
        (
            "series,position,emphysema\n{s},99999,1\n",
            "line 2: position must be within .* mm of a slice, got 99999: the nearest slice is at .* mm",
        ),
        ("series,position,emphysema\n1.2.3,{z},1\n", "line 2: series must name a prepared scan"),
        (
            "series,instance,emphysema\n{s},4711,1\n",
            "line 2: instance must be an InstanceNumber of the series, got 4711",
        ),
        ("series,position,fibrosis\n{s},{z},1\n", 'must have a column for a pattern .*, got "fibrosis"'),
        (
            "series,position,instance,emphysema\n{s},{z},1,1\n",
            "must have at most one of the columns position, instance, file",
        ),
        (
            "position,emphysema\n{z},1\n",
            "must have the column series or scan if it has the column position, got none of them",
        ),
        ("series,position\n{s},{z}\n", "must have a column for a pattern"),
        ("series,position,emphysema\n", "must label at least one slice or scan"),
        (
            "file,emphysema\nmissing.dcm,1\n",
            "line 2: file must exist, got 'missing.dcm'; paths are relative to .* the scans",
        ),
        (
            "series,position,emphysema pixels\n{s},{z},99999999\n",
            "line 2: the number of emphysema pixels must not exceed .*9999",
        ),
        ("series,position,emphysema\n{s},{z},nan\n", "must label at least one slice or scan, got no known label"),
        ("series,position,emphysema\n{s},{z},\0\n", "got a NUL byte in line 2"),
        ("series,position,patient,emphysema\n{s},{z},,1\n", "line 2: patient must be given in every row"),
        ("series,position,emphysema\n{s},1\n", "line 2: a row must have one cell per column"),
        ("series,position,emphysema,Emphysema pixels\n{s},{z},1,9\n", "must have one column for emphysema, got two"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_with_the_line(prepared, text, message):
    series, slices = files(prepared)
    with pytest.raises(InputError, match=message):
        labelled(prepared, text.format(s=series, z=slices[0][0]))


def test_a_scan_with_a_label_map_is_not_labelled_again(tmp_path):
    write_phantoms(tmp_path / "scans", patients=1, seed=1, slices_per_scan=4, workers=1)
    prepare_scans(tmp_path / "scans", tmp_path / "study", workers=1)
    series, slices = files(tmp_path)
    with pytest.raises(InputError, match="a scan with slice labels must have no label map"):
        labelled(tmp_path, f"series,position,emphysema\n{series},{slices[0][0]},1\n")


def test_single_slices_of_nameless_patients_are_scans_of_the_listed_patients(tmp_path):
    import pydicom
    from pydicom.uid import generate_uid

    write_phantoms(tmp_path / "phantom", patients=1, seed=1, slices_per_scan=4, workers=1)
    (tmp_path / "scans").mkdir()
    rows = ["file,patient,emphysema"]
    for number, path in enumerate(sorted((tmp_path / "phantom").rglob("IM*.dcm"))):
        header = pydicom.dcmread(path)
        header.PatientID, header.SeriesInstanceUID, header.StudyInstanceUID = "", generate_uid(), generate_uid()
        header.save_as(tmp_path / "scans" / f"{number}.dcm")
        rows.append(f"scans/{number}.dcm,person {number // 2},{number % 2}")
    (tmp_path / "slices.csv").write_text("\n".join(rows))
    report = prepare_scans(tmp_path / "scans", tmp_path / "study", labels=tmp_path / "slices.csv", workers=1)
    assert (report["scans"], report["patients"], report["labelled_slices"]) == (4, 2, 4)
    assert sorted(presence(Workspace.open(tmp_path / "study").slices().counts)[:, 3].tolist()) == [0, 0, 1, 1]
    (tmp_path / "slices.csv").write_text("\n".join(rows[:-1]))
    report = prepare_scans(tmp_path / "scans", tmp_path / "fewer", labels=tmp_path / "slices.csv", workers=1)
    assert report["scans"] == 3
    assert "must have a patient in the column patient of the labels" in report["quarantined"][0]["reason"]


@pytest.mark.parametrize("value", ["1", "1.0"])
@pytest.mark.parametrize("unknown", ["", "nan", "NA", "NaN", "<NA>"])
def test_labels_are_read_as_pandas_and_spreadsheets_write_them(tmp_path, value, unknown):
    path = tmp_path / "slices.csv"
    path.write_bytes(f"\ufeffscan;position;emphysema;reticular\r\na\\b\u2028c;1;{value};{unknown}\r\n".encode())
    (row,) = read_label_file(path).rows
    assert (row.name, row.line) == ("a/b\u2028c", 2)
    assert row.counts == [UNLABELLED, UNLABELLED, UNLABELLED, PRESENT]


def test_a_pipe_a_device_and_utf16_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "wide.csv").write_text("file,emphysema\na,1\n", encoding="utf-16")
    for path, reason in (
        (tmp_path / "pipe", "named pipe"),
        ("/dev/zero", "a device"),
        (tmp_path / "wide.csv", "UTF-16"),
    ):
        with pytest.raises(InputError, match=reason):
            read_label_file(path)


def test_rows_are_checked_before_slices_are_windowed(prepared, tmp_path):
    (tmp_path / "slices.csv").write_text("series,position,emphysema\n1.2.3,0,1\n")
    with pytest.raises(InputError, match="line 2: series must name a prepared scan"):
        prepare_scans(prepared / "scans", tmp_path / "new", labels=tmp_path / "slices.csv", workers=1)
    assert not list((tmp_path / "new").rglob("*.h5"))


def test_a_label_map_is_found_before_slices_are_windowed(tmp_path):
    write_phantoms(tmp_path / "scans", patients=2, seed=1, slices_per_scan=4, workers=1)
    series, slices = files(tmp_path)
    (tmp_path / "slices.csv").write_text(f"series,position,emphysema\n{series},{slices[0][0]},1\n")
    with pytest.raises(InputError, match="line 2: a scan with slice labels must have no label map"):
        prepare_scans(tmp_path / "scans", tmp_path / "study", labels=tmp_path / "slices.csv", workers=1)
    assert not list((tmp_path / "study").rglob("*.h5"))


def test_a_label_map_that_marks_nothing_leaves_the_scan_to_the_table(tmp_path):
    import nibabel

    write_phantoms(tmp_path / "phantom", patients=1, seed=1, slices_per_scan=4, workers=1)
    label = next((tmp_path / "phantom").rglob("*.nii.gz"))
    image = nibabel.load(label)
    nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine, image.header), label)
    (tmp_path / "phantom").rename(tmp_path / "scans")
    series, slices = files(tmp_path)
    found = labelled(tmp_path, f"series,position,emphysema\n{series},{slices[0][0]},1\n")
    assert presence(found.counts)[:, 3].tolist().count(1) == 1
