"""DICOM SEG, written with highdicom, on the grid of the scan."""

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes as dicom_codes
from pydicom.uid import generate_uid

from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.scans.dicom import assemble
from ildfv.scans.labels import HEALTHY, MEANINGS, Codes
from ildfv.scans.libraries import quiet
from ildfv.scans.read_header import read_header
from ildfv.scans.segmentation import read_segmentation

NAMES = ("Healthy", "Ground Glass", "emphysema")


def write_seg(path, ct_paths, masks, *, labels=NAMES, kind="BINARY", **options):
    """masks: (slices, rows, columns, segments) bool for BINARY, (slices, rows, columns) of numbers for LABELMAP."""
    described = [
        hd.seg.SegmentDescription(
            i + 1,
            label,
            dicom_codes.SCT.Tissue,
            dicom_codes.SCT.Lung,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for i, label in enumerate(labels)
    ]
    with quiet():
        seg = hd.seg.Segmentation(
            [dcmread(ct) for ct in ct_paths],
            masks,
            kind,
            described,
            generate_uid(),
            1,
            generate_uid(),
            1,
            "none",
            "none",
            "1",
            "1",
            **options,
        )
        path.parent.mkdir(exist_ok=True, parents=True)
        seg.save_as(path)
    return path


def read(path, scan):
    with quiet():
        return read_segmentation(path, scan, Codes.load("phantom"))


@pytest.fixture
def scan(tmp_path, files):
    """(paths of a series by position, its geometry, its phantom codes)."""
    hu = files.chest()
    paths = files.series(tmp_path / "ct", hu)
    return paths, assemble([read_header(path) for path in paths]).geometry, files.codes(hu)


def stacked(codes):
    return np.stack([codes == 1, codes == 2, codes == 5], axis=-1).astype(np.uint8)


def expected(codes):
    table = np.zeros(6, np.uint8)
    table[[1, 2, 5]] = [MEANINGS.index(name) for name in (HEALTHY, "ground glass", "emphysema")]
    return table[codes]


def test_segments_keep_their_voxels(tmp_path, scan):
    paths, geometry, codes = scan
    seg = write_seg(tmp_path / "seg.dcm", paths, stacked(codes))
    np.testing.assert_array_equal(read(seg, geometry), expected(codes))


def test_empty_frames_may_be_omitted(tmp_path, scan):
    paths, geometry, codes = scan
    codes[[0, 1, 3]] = 0
    seg = write_seg(tmp_path / "seg.dcm", paths, stacked(codes), omit_empty_frames=True)
    assert dcmread(seg).NumberOfFrames == 9
    np.testing.assert_array_equal(read(seg, geometry), expected(codes))


def test_a_label_map_segmentation_is_read(tmp_path, scan):
    paths, geometry, codes = scan
    numbers = np.select([codes == 1, codes == 2, codes == 5], [1, 2, 3]).astype(np.uint8)
    seg = write_seg(tmp_path / "seg.dcm", paths, numbers, kind="LABELMAP")
    np.testing.assert_array_equal(read(seg, geometry), expected(codes))


def test_segment_labels_without_a_meaning_are_refused(tmp_path, scan):
    paths, geometry, codes = scan
    seg = write_seg(tmp_path / "seg.dcm", paths, stacked(codes), labels=("Healthy", "Tumour", "emphysema"))
    with pytest.raises(InputError, match=r"listed in \[segments\] of phantom, got 'Tumour'"):
        read(seg, geometry)


def test_overlapping_segments_of_different_meaning_are_refused(tmp_path, scan):
    paths, geometry, codes = scan
    masks = stacked(codes)
    masks[2, 20:25, 10:20] = 1
    seg = write_seg(tmp_path / "seg.dcm", paths, masks)
    with pytest.raises(
        InputError,
        match="segment 'Healthy' and segment 'Ground Glass' must not contradict each other, got healthy and ground",
    ):
        read(seg, geometry)


def test_fractional_segments_are_refused(tmp_path, scan):
    paths, geometry, codes = scan
    seg = write_seg(tmp_path / "seg.dcm", paths, stacked(codes).astype(np.float32) * 0.5, kind="FRACTIONAL")
    with pytest.raises(InputError, match="SegmentationType must be BINARY or LABELMAP, got FRACTIONAL"):
        read(seg, geometry)


def test_frames_outside_the_scan_are_refused(tmp_path, scan, files):
    _, geometry, codes = scan
    longer = files.series(tmp_path / "long", files.chest(8))
    seg = write_seg(tmp_path / "seg.dcm", longer, stacked(np.concatenate([codes, codes[:2]])))
    with pytest.raises(InputError, match="must coincide with slices of the scan"):
        read(seg, geometry)
    moved = files.series(
        tmp_path / "moved", files.chest(1), change=lambda z, d: d, ImagePositionPatient=[-120, -120, -300]
    )
    seg = write_seg(tmp_path / "seg2.dcm", moved, stacked(codes[:1]))
    with pytest.raises(InputError, match="must have the scan's grid"):
        read(seg, geometry)


def test_a_segmentation_is_assigned_to_its_series_from_any_folder(tmp_path, scan, files):
    paths, _, codes = scan
    files.series(tmp_path / "other", files.chest(seed=3), patient="P-2")
    seg = write_seg(tmp_path / "far" / "away" / "seg.dcm", paths, stacked(codes))
    found = discover(tmp_path)
    paired = {scan.source.name: [label.path for label in scan.labels] for scan in found.scans}
    assert paired == {"ct": [seg], "other": []}


def test_a_segmentation_of_a_missing_series_is_quarantined(tmp_path, scan, files):
    paths, _, codes = scan
    write_seg(tmp_path / "seg" / "seg.dcm", paths, stacked(codes))
    series = dcmread(paths[0]).SeriesInstanceUID
    for path in paths:
        path.unlink()
    found = discover(tmp_path)
    assert [left.reason for left in found.quarantined] == [
        f"a DICOM SEG must reference one usable series of the input, got 0: series {series} is missing"
    ]


UNNEEDED = (
    "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality", "SeriesNumber", "InstanceNumber",
    "Manufacturer",
    "ContentLabel", "ContentDescription", "ContentCreatorName", "ImageType", "SamplesPerPixel", "PixelRepresentation",
    "PhotometricInterpretation", "SegmentationType",
    "SegmentsOverlap", "DimensionIndexSequence", "DimensionOrganizationSequence", "LossyImageCompression", "PatientID",
    "PatientName", "FrameOfReferenceUID", "ReferencedSeriesSequence", "SoftwareVersions", "DeviceSerialNumber",
)  # fmt: skip


@pytest.mark.parametrize("name", UNNEEDED)
def test_a_segmentation_without_an_attribute_that_is_not_needed_is_read(tmp_path, scan, name):
    paths, geometry, codes = scan
    path = write_seg(tmp_path / "seg.dcm", paths, stacked(codes))
    seg = dcmread(path)
    if name in seg:
        del seg[name]
    seg.save_as(path)
    (found,) = discover(tmp_path).scans
    assert [label.path for label in found.labels] == [path]
    assert found.unreadable == 0
    np.testing.assert_array_equal(read(path, geometry), expected(codes))


@pytest.mark.parametrize(
    "name", ["SegmentAlgorithmType", "SegmentedPropertyCategoryCodeSequence", "SegmentAlgorithmName"]
)
def test_segments_without_attributes_that_are_not_needed_are_read(tmp_path, scan, name):
    paths, geometry, codes = scan
    path = write_seg(tmp_path / "seg.dcm", paths, stacked(codes))
    seg = dcmread(path)
    for item in seg.SegmentSequence:
        if name in item:
            del item[name]
    seg.save_as(path)
    np.testing.assert_array_equal(read(path, geometry), expected(codes))


def without_reference(path):
    seg = dcmread(path)
    del seg.ReferencedSeriesSequence
    for group in seg.PerFrameFunctionalGroupsSequence:
        if "DerivationImageSequence" in group:
            del group.DerivationImageSequence
    seg.save_as(path)
    return path


def test_a_segmentation_without_reference_belongs_to_the_series_on_whose_slices_it_lies(tmp_path, files, scan):
    paths, _, codes = scan
    where = dcmread(paths[0]).FrameOfReferenceUID
    # The same frame of reference, but other slices.
    files.series(
        tmp_path / "thin",
        files.chest(seed=2),
        FrameOfReferenceUID=where,
        change=lambda z, dataset: shifted(dataset, 1.3),
    )
    seg = without_reference(write_seg(tmp_path / "seg.dcm", paths, stacked(codes)))
    found = discover(tmp_path)
    paired = {one.source.name: [label.path for label in one.labels] for one in found.scans}
    assert paired == {"ct": [seg], "thin": []}


def shifted(dataset, mm):
    dataset.ImagePositionPatient[2] += mm
    return dataset


def test_a_segmentation_without_reference_on_the_slices_of_two_series_is_refused(tmp_path, files, scan):
    paths, _, codes = scan
    where = dcmread(paths[0]).FrameOfReferenceUID
    files.series(tmp_path / "sharp", files.chest(seed=2), FrameOfReferenceUID=where)
    without_reference(write_seg(tmp_path / "seg.dcm", paths, stacked(codes)))
    (refused,) = discover(tmp_path).quarantined
    assert "must be on the slices of one series with its FrameOfReferenceUID, got 2 of 2" in refused.reason


def test_a_priority_decides_between_overlapping_segments(tmp_path, scan):
    paths, geometry, codes = scan
    masks = stacked(codes)
    masks[..., 0] = codes > 0  # the healthy segment is the whole lung
    seg = write_seg(tmp_path / "seg.dcm", paths, masks)
    table = Codes({0: "outside"}, priority=("emphysema", "ground glass", "healthy"))
    with quiet():
        np.testing.assert_array_equal(read_segmentation(seg, geometry, table), expected(codes))
