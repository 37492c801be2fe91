"""Labels of whole scans: which pattern a scan shows, by scan, series or patient; contradictions are refused."""

import json

import numpy as np
import pydicom
import pytest
from preparing import in_this_process

from ildfv.datasets.scan_labels import ScanLabels
from ildfv.errors import InputError
from ildfv.patterns import ABSENT, PATTERNS, UNLABELLED
from ildfv.phantom import write_phantoms
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.verify import verify_workspace
from ildfv.pipeline.workspace import Workspace
from ildfv.store.checksummed import read_checksummed

pytestmark = pytest.mark.usefixtures("inline")

HEAD = "emphysema,honeycomb"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three DICOM phantoms of four slices, prepared without labels; (folder, [(series, patient, folder), …])."""
    folder = tmp_path_factory.mktemp("labels")
    write_phantoms(folder / "scans", patients=3, seed=1, slices_per_scan=4, workers=1)
    for path in (folder / "scans").rglob("*"):
        if path.is_file() and path.suffix != ".dcm":
            path.unlink()
    with in_this_process():
        prepare_scans(folder / "scans", folder / "study")
    found = {}
    for path in sorted((folder / "scans").rglob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        found[header.SeriesInstanceUID] = (str(header.PatientID), path.parent.relative_to(folder))
    return folder, [(series, *rest) for series, rest in sorted(found.items())]


def labelled(folder, text):
    """(slices of the study, report) after `prepare --labels` with this CSV text."""
    (folder / "scans.csv").write_text(text)
    report = prepare_scans(folder / "scans", folder / "study", labels=folder / "scans.csv", workers=1)
    return Workspace.open(folder / "study").slices(), report


def test_scan_series_and_patient_name_the_same_scan(prepared):
    folder, ((series, patient, path), *_) = prepared
    keys = set()
    for column, name in (("series", series), ("scan", path), ("patient", patient)):
        slices, report = labelled(folder, f"{column},{HEAD}\n{name},1,0\n")
        (row,) = np.flatnonzero((slices.scan_labels >= 0).any(axis=1))
        assert dict(zip(PATTERNS, slices.scan_labels[row].tolist(), strict=True)) == {
            "ground glass": -1, "reticular": -1, "honeycomb": 0, "emphysema": 1
        }  # fmt: skip
        keys.add(slices.key)
        assert report["labelled_scans"] == report["workspace"]["labelled_scans"] == 1
        assert "labelled_slices" not in report
        assert "scans without a label are not used for fitting (2 of 3)" in report["notes"]
    assert len(keys) == 1
    assert keys != {Workspace.open(folder / "study").stored_slices().key}


def test_zero_makes_every_slice_absent_and_one_leaves_every_slice_unknown(prepared):
    folder, ((first, *_), (second, *_), _) = prepared
    slices, _ = labelled(folder, f"series,{HEAD}\n{first},1,0\n{second},,1\n")
    expected = {(1, 0): [UNLABELLED, ABSENT], (-1, 1): [UNLABELLED, UNLABELLED], (-1, -1): [UNLABELLED, UNLABELLED]}
    places = [PATTERNS.index("emphysema"), PATTERNS.index("honeycomb")]
    for part, labels in enumerate(slices.scan_labels[:, places].tolist()):
        rows = slice(slices.starts[part], slices.starts[part + 1])
        assert (slices.counts[rows][:, places] == expected[tuple(labels)]).all()
        assert slices.labelled[rows].tolist() == [max(labels) >= 0] * 4
    assert (np.delete(slices.counts, places, axis=1) == UNLABELLED).all()


def test_the_stored_labels_are_documented_checked_and_contain_no_identity(prepared):
    folder, ((series, patient, _), *_) = prepared
    labelled(folder, f"series,{HEAD}\n{series},1,0\n")
    path = folder / "study" / "scan-labels.json"
    content = read_checksummed(path)
    assert (content["kind"], content["version"]) == ("ildfv scan labels", 1)
    assert list(content["labels"].values()) == [[None, None, 0, 1]]
    assert series not in path.read_text()
    assert patient not in path.read_text()
    assert verify_workspace(folder / "study")["faults"] == []
    good = path.read_text()
    path.write_text(good.replace("ildfv scan labels", "ildfv scan marks"))
    (fault,) = verify_workspace(folder / "study")["faults"]
    assert "run `ildfv prepare --labels`" in fault
    path.write_text(good)
    ScanLabels.read(path).write(path)
    assert json.loads(path.read_text()) == json.loads(good)


def test_labels_of_slices_replace_those_of_scans_and_the_reverse(prepared):
    folder, ((series, _, path), *_) = prepared
    study = folder / "study"
    labelled(folder, f"series,{HEAD}\n{series},1,0\n")
    assert [one.name for one in study.glob("*-labels.json")] == ["scan-labels.json"]
    header = pydicom.dcmread(next((folder / path).glob("*.dcm")), stop_before_pixels=True)
    slices, report = labelled(folder, f"series,instance,{HEAD}\n{series},{header.InstanceNumber},1,0\n")
    assert [one.name for one in study.glob("*-labels.json")] == ["slice-labels.json"]
    assert slices.scan_labels is None
    assert report["labelled_slices"] == 1
    both = (study / "slice-labels.json").read_bytes()
    labelled(folder, f"series,{HEAD}\n{series},1,0\n")
    (study / "slice-labels.json").write_bytes(both)
    with pytest.raises(InputError, match=r"not both, got scan-labels\.json and slice-labels\.json"):
        Workspace.open(study).slices()
    (study / "slice-labels.json").unlink()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("series,emphysema\n{s},2\n", "line 2: emphysema must be 1, yes or true .*, got '2'"),
        (
            "series,emphysema\n{s},1\n{s},1\n",
            "line 3: a scan must have only one row, got a second row \\(the first is line 2\\): delete one or",
        ),
        (
            "series,emphysema\n{s},1\n{s},0\n",
            "line 3: a scan must have only one row, got a second row \\(the first is line 2\\): delete one or",
        ),
        ("series,emphysema\n{s},1\n1.2.3,1\n", "line 3: series must name a prepared scan, got '1.2.3'$"),
        (
            "scan,emphysema\n{f},1\nscans/none,1\n",
            "line 3: scan must name a prepared scan, got .*paths are relative to .* or to the folder of the scans",
        ),
        (
            "patient,emphysema\n{p},1\nNobody,1\n",
            "line 3: patient must name the patient of a prepared scan, got 'Nobody'",
        ),
        (
            "series,position,emphysema\n{s},,1\n",
            "position must be given in every row.* of slices or of scans, not both",
        ),
        (
            "patient,position,emphysema\n{p},3,1\n",
            "must have the column series or scan if it has the column position, got none of them",
        ),
        (
            "series,emphysema pixels\n{s},700\n",
            "must have no column of pixel counts, because rows name scans, not slices",
        ),
        ("series,emphysema\n{s},\n", r"must label at least one slice or scan, got no known label \(rows: 1\)"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused_in_one_line(prepared, text, message):
    folder, ((series, patient, path), *_) = prepared
    with pytest.raises(InputError, match=message) as error:
        labelled(folder, text.format(s=series, p=patient, f=path))
    assert "\n" not in str(error.value)


def test_a_refused_label_file_leaves_no_workspace(prepared, tmp_path):
    folder, ((series, *_), *_) = prepared
    (tmp_path / "labels.csv").write_text(f"series,emphysema\n{series},1\n1.2.3,1\n")
    with pytest.raises(InputError, match="line 3: series must name a prepared scan"):
        prepare_scans(folder / "scans", tmp_path / "study", labels=tmp_path / "labels.csv", threshold=7, workers=1)
    assert not (tmp_path / "study").exists()
    (tmp_path / "labels.csv").write_text(f"series,emphysema\n{series},1\n")
    prepare_scans(folder / "scans", tmp_path / "study", labels=tmp_path / "labels.csv", threshold=8, workers=1)
    assert Workspace.open(tmp_path / "study").settings.threshold == 8


def test_columns_may_be_separated_by_tabs_or_semicolons(prepared):
    folder, ((series, *_), *_) = prepared
    text = f"series,{HEAD}\n{series},1,0\n"
    keys = {labelled(folder, text.replace(",", separator))[0].key for separator in ",;\t"}
    assert len(keys) == 1


def test_a_patient_with_two_scans_is_refused_because_the_scan_is_unknown(tmp_path):
    write_phantoms(tmp_path / "scans", patients=2, seed=1, slices_per_scan=4, workers=1)
    for path in (tmp_path / "scans").rglob("*.dcm"):
        header = pydicom.dcmread(path)
        header.PatientID = "anna"
        header.save_as(path)
    for path in [*(tmp_path / "scans").rglob("*.nii.gz"), tmp_path / "scans" / "codes.toml"]:
        path.unlink()
    with pytest.raises(InputError, match="line 2: patient must have one scan, got 2 scans of 'anna': name each scan"):
        labelled(tmp_path, "patient,emphysema\nanna,1\n")


def test_a_study_has_label_maps_or_labels_of_scans(tmp_path):
    write_phantoms(tmp_path / "scans", patients=1, seed=1, slices_per_scan=4, workers=1)
    (path,) = {path.parent.relative_to(tmp_path) for path in (tmp_path / "scans").rglob("*.dcm")}
    with pytest.raises(InputError, match="not both, got labels of scans \\(1\\) and label maps \\(1\\): prepare into"):
        labelled(tmp_path, f"scan,emphysema\n{path},1\n")
    assert not list((tmp_path / "study" / "slices").glob("*.h5"))  # refused before a slice is windowed
    prepare_scans(tmp_path / "scans", tmp_path / "study", workers=1)
    (tmp_path / "scans" / "codes.toml").unlink()
    with pytest.raises(InputError, match="line 2: a scan with a scan label must have no label map"):
        labelled(tmp_path, f"scan,emphysema\n{path},1\n")


def test_label_maps_do_not_replace_labels_of_scans_by_accident(prepared, tmp_path):
    folder, ((series, *_), *_) = prepared
    before, _ = labelled(folder, f"series,{HEAD}\n{series},1,0\n")
    write_phantoms(tmp_path / "scans", patients=3, seed=1, slices_per_scan=4, workers=1)  # with label maps
    with pytest.raises(InputError, match=r"not both, got .*scan-labels\.json and label maps \(3\): prepare into"):
        prepare_scans(tmp_path / "scans", folder / "study", workers=1)
    assert Workspace.open(folder / "study").slices().key == before.key  # the study can still be used
