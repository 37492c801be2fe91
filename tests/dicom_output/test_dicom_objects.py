"""The objects of a prediction: content of the report, identity of the source, fixed UIDs, and no partial output."""

import shutil
import subprocess
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from made import prediction_of, scan_of, series
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, generate_uid
from scan_files import ScanFiles

from ildfv.dicom_output import write
from ildfv.dicom_output.origin import Origin
from ildfv.dicom_output.segmentation import segmentation
from ildfv.dicom_output.sources import Source
from ildfv.dicom_output.write import paths, write_objects
from ildfv.errors import InputError
from ildfv.patterns import PATTERNS
from ildfv.scans.libraries import quiet

PATIENT = {
    "patient": "MRN-42",
    "PatientName": "Müller^Zoë",
    "PatientBirthDate": "19500230",  # not a valid date, but kept because the PACS has it
    "PatientSex": "X",  # not a value of the standard, but kept
    "StudyDate": "20200102",
    "StudyTime": "101112",
    "AccessionNumber": "A7",
    "ReferringPhysicianName": "Who^Dr",
    "SpecificCharacterSet": "ISO_IR 100",
}
NAMES = ["map-emphysema.dcm", "map-ground-glass.dcm", "map-honeycomb.dcm", "map-reticular.dcm"]
PICTURES = [f"picture-{i}.dcm" for i in range(1, 6)]


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan") / "ct"
    series(folder, "feet first", m=4, **PATIENT)
    return scan_of(folder)


@pytest.fixture(scope="module")
def written(scan, tmp_path_factory):
    """(prediction, objects by file name)."""
    folder, prediction = tmp_path_factory.mktemp("out") / "objects", prediction_of(scan)
    write_objects(folder, prediction, scan.dicom)
    return prediction, {path.name: path for path in paths(folder)}


def test_a_prediction_gives_a_report_a_segmentation_maps_and_pictures(written):
    assert list(written[1]) == [*NAMES, *PICTURES, "segmentation.dcm", "report.dcm"]
    classes = [dcmread(path).SOPClassUID.name for path in written[1].values()]
    assert classes == [
        *["Parametric Map Storage"] * 4,
        *["Secondary Capture Image Storage"] * 5,
        "Segmentation Storage",
        "Comprehensive SR Storage",
    ]


def test_every_object_belongs_to_the_patient_and_study_of_the_source(written, scan):
    source = dcmread(scan.files[0])
    for path in written[1].values():
        found = dcmread(path)
        for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID",
                     "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
            assert found[name].value == source[name].value, name
        assert str(found.PatientName) == "Müller^Zoë"
        assert found.SeriesInstanceUID != source.SeriesInstanceUID
        assert "Research use only" in found.SeriesDescription
        assert "PHANTOM" in found.SeriesDescription


def test_the_report_has_the_values_of_every_image_and_of_the_scan(written, scan):
    prediction, files = written
    head = prediction.head
    with quiet():
        report = hd.sr.srread(files["report.dcm"])
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    groups = report.content.get_image_measurement_groups()
    assert len(groups) == (1 + 4) * len(PATTERNS)
    by_position = sorted((dcmread(p) for p in scan.files), key=lambda d: float(d.ImagePositionPatient[2]))
    for c in range(len(PATTERNS)):
        values = measured(groups[c])
        assert values["SLICES"] == head.presence[:, c].sum()
        if np.isfinite(head.probability[:, c]).all():
            assert values["HIGHEST-PROBABILITY"] == pytest.approx(head.probability[:, c].max())
        assert values["TOTAL-AREA"] == pytest.approx(head.area[head.presence[:, c], c].sum())
    for z, image in enumerate(by_position):
        for c in range(len(PATTERNS)):
            group = groups[(1 + z) * len(PATTERNS) + c]
            assert group.finding_type.value == ("112120", "112113", "112106", "87433001")[c]
            assert group.source_images[0].referenced_sop_instance_uid == image.SOPInstanceUID
            values = measured(group)
            assert values["246262008"] == pytest.approx(head.scores[z, c], rel=1e-8)
            assert values["42798000"] == pytest.approx(head.area[z, c], rel=1e-8)
            assert ("122157" in values) == bool(np.isfinite(head.probability[z, c]))
            (shown,) = [e.value.meaning for e in group.get_qualitative_evaluations() if e.name.value == "121052"]
            assert shown == ("Present" if head.presence[z, c] else "Absent")


def measured(group) -> dict[str, float]:
    return {one.name.value: one.value for one in group.get_measurements()}


def test_the_same_scan_and_predictor_give_the_same_uids_anywhere(written, scan, tmp_path):
    shutil.copytree(scan.source, tmp_path / "elsewhere")
    again = scan_of(tmp_path / "elsewhere")
    for path in write_objects(tmp_path / "out", written[0], again.dicom):
        first, second = dcmread(written[1][path.name]), dcmread(path)
        for name in ("SOPInstanceUID", "SeriesInstanceUID"):
            assert first[name].value == second[name].value
        assert without_times(first) == without_times(second)


def without_times(dataset: Dataset) -> Dataset:
    for name in ("InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime",
                 "DateOfSecondaryCapture", "TimeOfSecondaryCapture"):  # fmt: skip
        if name in dataset:
            del dataset[name]
    for item in dataset.ContributingEquipmentSequence:
        del item.ContributionDateTime
    return dataset


def test_another_predictor_gives_other_uids_and_is_not_mixed_with_the_first(written, scan, tmp_path):
    other = replace(written[0], predictor=written[0].predictor | {"checksum": "ab" * 32}, contributions=None)
    found = {str(dcmread(path).SOPInstanceUID) for path in write_objects(tmp_path / "out", other, scan.dicom)}
    assert found.isdisjoint(str(dcmread(path).SOPInstanceUID) for path in written[1].values())
    with pytest.raises(InputError, match="has objects of another predictor or of other slices"):
        write_objects(tmp_path / "out", written[0], scan.dicom)


def test_a_full_disk_leaves_nothing(written, scan, tmp_path, monkeypatch):
    calls = []

    def full_after_three(folder, size):
        calls.append(size)
        if len(calls) > 3:
            raise InputError(f"not enough disk space for {folder}: {size} bytes needed, 0 free")

    monkeypatch.setattr(write, "check_space", full_after_three)
    with pytest.raises(InputError, match="not enough disk space"):
        write_objects(tmp_path / "out" / "scan", written[0], scan.dicom)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_predictor_without_maps_gives_report_and_pictures(scan, tmp_path):
    found = write_objects(tmp_path / "out", prediction_of(scan, maps=False), scan.dicom)
    assert [path.name for path in found] == [*PICTURES, "report.dcm"]


def test_a_scan_without_any_pattern_has_no_segmentation(scan, tmp_path):
    prediction = prediction_of(scan)
    prediction.head.presence[:] = False
    found = write_objects(tmp_path / "out", prediction, scan.dicom)
    assert [path.name for path in found] == [*NAMES, *PICTURES, "report.dcm"]


@pytest.mark.parametrize("name", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_a_source_without_a_uid_that_must_be_referenced_gives_a_one_line_error(name, tmp_path):
    series(tmp_path / "ct", m=3, **{name: None})
    scan = scan_of(tmp_path / "ct")
    with pytest.raises(InputError, match=rf"^slice\d+.dcm must have {name} for --dicom, got none: use --out alone$"):
        write_objects(tmp_path / "out", prediction_of(scan), scan.dicom)
    assert not (tmp_path / "out").exists()


def test_a_source_whose_headers_lack_what_only_other_readers_need_is_accepted(tmp_path):
    absent = dict.fromkeys(("PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
                            "AccessionNumber", "ReferringPhysicianName", "SliceThickness"))  # fmt: skip
    series(tmp_path / "ct", m=3, **absent)
    scan = scan_of(tmp_path / "ct")
    with quiet():
        assert segmentation(Origin(prediction_of(scan), Source.of(scan.dicom))).PatientName == ""
    found = dcmread(write_objects(tmp_path / "out", prediction_of(scan, maps=False), scan.dicom)[-1])
    assert found.PatientID == "P-1"
    assert found.PatientName == ""


def test_objects_of_a_slice_of_unknown_thickness_state_no_thickness(tmp_path):
    series(tmp_path / "ct", m=1, SliceThickness=None)
    scan = scan_of(tmp_path / "ct")
    prediction = prediction_of(scan)
    assert prediction.to_dict()["spacing_mm"] == [None, 4.0, 4.0]
    found = {path.name: dcmread(path) for path in write_objects(tmp_path / "out", prediction, scan.dicom)}
    for one in (found["segmentation.dcm"], found[NAMES[0]]):
        (measures,) = one.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        assert "SliceThickness" not in measures
        assert list(measures.PixelSpacing) == [4, 4]


def multiframe(folder, m: int = 4) -> None:
    """The series as one Enhanced CT file, whose frames are in descending order."""
    folder.mkdir()
    hu = ScanFiles.chest(m)[::-1]
    enhanced = ScanFiles.slice_dataset(np.zeros((64, 64), np.int16), series=generate_uid(), KVP=120)
    enhanced.SOPClassUID = EnhancedCTImageStorage
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
                 "RescaleIntercept", "RescaleType"):  # fmt: skip
        del enhanced[name]
    enhanced.NumberOfFrames = m
    enhanced.PerFrameFunctionalGroupsSequence = []
    for z in range(m):
        group, plane, orientation, measures, rescale = (Dataset() for _ in range(5))
        plane.ImagePositionPatient = [-128, -120, -300 + 5 * (m - 1 - z)]
        orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        measures.PixelSpacing, measures.SliceThickness = [4, 4], 5
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1024, "HU"
        group.PlanePositionSequence, group.PlaneOrientationSequence = [plane], [orientation]
        group.PixelMeasuresSequence, group.PixelValueTransformationSequence = [measures], [rescale]
        enhanced.PerFrameFunctionalGroupsSequence.append(group)
    enhanced.PixelData = (hu + 1024).astype(np.int16).tobytes()
    enhanced.save_as(folder / "enhanced.dcm", enforce_file_format=True)


def test_frames_of_a_multiframe_file_are_referenced_by_their_number(tmp_path):
    multiframe(tmp_path / "ct")
    scan = scan_of(tmp_path / "ct")
    source = dcmread(scan.files[0])
    files = {path.name: dcmread(path) for path in write_objects(tmp_path / "out", prediction_of(scan), scan.dicom)}
    seg = files["segmentation.dcm"]
    (item,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert (item.ReferencedSOPInstanceUID, item.ReferencedSOPClassUID) == (source.SOPInstanceUID, source.SOPClassUID)
    for group in seg.PerFrameFunctionalGroupsSequence:
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        place = source.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1].PlanePositionSequence[0]
        assert group.PlanePositionSequence[0].ImagePositionPatient == place.ImagePositionPatient
    with quiet():
        groups = hd.sr.srread(tmp_path / "out" / "report.dcm").content.get_image_measurement_groups()
    assert [group.source_images[0].ReferencedSOPSequence[0].ReferencedFrameNumber for group in groups[4::4]] == [
        4, 3, 2, 1,
    ]  # fmt: skip
    (evidence,) = files["report.dcm"].CurrentRequestedProcedureEvidenceSequence
    (one,) = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert one.ReferencedSOPInstanceUID == source.SOPInstanceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy: apt install dicom3tools")
def test_dciodvfy_finds_no_error(written):
    for path in written[1].values():
        ended = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
        wrong = [line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("Error")]
        # Birth date and sex are copied from the source, where they are invalid on purpose.
        assert [line for line in wrong if "Birth" not in line and "Sex" not in line] == [], path.name


def test_a_slice_without_position_is_refused_before_anything_is_written(tmp_path):
    (path,) = series(tmp_path / "ct", m=1)
    dataset = dcmread(path)
    del dataset.ImagePositionPatient
    dataset.save_as(path)
    scan = scan_of(tmp_path / "ct")
    assert scan.dicom.missing == ("ImagePositionPatient",)
    rule = f"^{path.name} must have ImagePositionPatient for --dicom, got none: use --out alone$"
    with pytest.raises(InputError, match=rule):
        Source.of(scan.dicom)
