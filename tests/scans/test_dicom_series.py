"""Valid DICOM: slice order, units, orientation, series mixed in folders, multi-frame files."""

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, generate_uid

from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.read_header import read_header
from ildfv.scans.technique import Technique


def read(paths):
    return read_series(assemble([read_header(path) for path in paths]))


def test_hounsfield_units_and_order_come_from_the_headers(tmp_path, files):
    hu = files.chest()
    volume = read(files.series(tmp_path, hu))
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.spacing, files.spacing)
    np.testing.assert_allclose(volume.origin, files.origin)
    np.testing.assert_allclose(volume.positions, files.origin[2] + 5.0 * np.arange(len(hu)))
    assert volume.pixel_area == pytest.approx(16.0)


def test_file_names_and_instance_numbers_do_not_order_slices(tmp_path, files):
    def renumber(z, dataset):
        dataset.InstanceNumber = 100 - z
        return dataset

    np.testing.assert_array_equal(read(files.series(tmp_path, files.chest(), change=renumber)).hu, files.chest())


def test_a_fractional_slope_gives_floats(tmp_path, files):
    volume = read(files.series(tmp_path, files.chest(), RescaleSlope="0.9", RescaleIntercept="-1000"))
    assert volume.hu.dtype == np.float32
    np.testing.assert_allclose(volume.hu, (files.chest() + 1024) * 0.9 - 1000, atol=1e-3)


def test_each_slice_has_its_own_slope(tmp_path, files):
    def halve(z, dataset):
        if z == 2:
            stored = np.frombuffer(dataset.PixelData, np.int16)
            dataset.PixelData, dataset.RescaleSlope = (stored // 2).tobytes(), "2"
        return dataset

    volume = read(files.series(tmp_path, files.chest(), change=halve))
    assert np.abs(volume.hu - files.chest()).max() <= 1


def test_a_prone_scan_is_converted_to_patient_axes(tmp_path, files):
    hu = files.chest()

    def prone(z, dataset):
        x, y, z_ = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x + 63 * 4.0, y + 63 * 4.0, z_]
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        dataset.PixelData = np.ascontiguousarray((hu[z] + 1024)[::-1, ::-1]).tobytes()
        return dataset

    volume = read(files.series(tmp_path, hu, change=prone))
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.origin, files.origin, atol=1e-6)


def test_declared_padding_is_allowed_below_every_limit(tmp_path, files):
    def pad(z, dataset):
        stored = np.frombuffer(dataset.PixelData, np.int16).reshape(64, 64).copy()
        stored[:5] = -32768
        dataset.PixelData, dataset.PixelPaddingValue = stored.tobytes(), -32768
        return dataset

    volume = read(files.series(tmp_path, files.chest(), change=pad))
    assert (volume.hu[:, :5] == -3024).all()
    np.testing.assert_array_equal(volume.hu[:, 5:], files.chest()[:, 5:])


def test_series_mixed_in_nested_folders_are_separated(tmp_path, files):
    a, b = files.chest(5, seed=1), files.chest(4, seed=2)
    files.series(tmp_path / "all", a, series=generate_uid())
    for path in files.series(tmp_path / "tmp", b, series=generate_uid(), patient="P-2"):
        path.rename(tmp_path / "all" / f"x{path.name}")
    (tmp_path / "all" / "deep" / "er").mkdir(parents=True)
    moved = sorted((tmp_path / "all").glob("slice*"))[0]
    moved.rename(tmp_path / "all" / "deep" / "er" / moved.name)
    found = discover(tmp_path)
    assert not found.quarantined
    volumes = {scan.patient: read_series(scan.dicom).hu for scan in found.scans}
    np.testing.assert_array_equal(volumes["P-1"], a)
    np.testing.assert_array_equal(volumes["P-2"], b)


def test_one_slice_with_a_thickness_is_a_scan(tmp_path, files):
    volume = read(files.series(tmp_path, files.chest(1)))
    assert volume.hu.shape == (1, 64, 64)
    assert volume.geometry.known_spacing.tolist() == volume.spacing.tolist() == list(files.spacing)


@pytest.mark.parametrize("thickness", [None, "", 0])
def test_one_slice_of_unknown_thickness_is_a_scan(tmp_path, files, thickness):
    volume = read(files.series(tmp_path, files.chest(1), SliceThickness=thickness))
    assert volume.hu.shape == (1, 64, 64)
    assert volume.technique.thickness is None
    assert np.isnan(volume.geometry.known_spacing[0])
    assert volume.geometry.known_spacing[1:].tolist() == list(files.spacing[1:])


def test_the_spacing_of_several_slices_of_unknown_thickness_is_that_of_their_positions(tmp_path, files):
    volume = read(files.series(tmp_path, files.chest(), SliceThickness=None))
    assert volume.geometry.known_spacing.tolist() == pytest.approx(list(files.spacing))
    assert volume.technique.thickness is None


def test_an_identical_copy_of_a_file_is_ignored(tmp_path, files):
    paths = files.series(tmp_path, files.chest())
    copy = tmp_path / "zcopy.dcm"
    copy.write_bytes(paths[0].read_bytes())
    found = discover(tmp_path)
    assert [scan.geometry.shape[0] for scan in found.scans] == [6]
    assert [(left.source, "identical copy" in left.reason) for left in found.ignored] == [(copy, True)]


def enhanced(files, hu, **change) -> Dataset:
    """All slices in one Enhanced CT file, frames from head to foot."""
    dataset = files.slice_dataset(
        np.zeros((64, 64), np.int16), series=generate_uid(), SOPClassUID=EnhancedCTImageStorage
    )
    for name in ("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelSpacing", "SliceThickness"):
        delattr(dataset, name)
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    shared, groups = Dataset(), []
    orientation, measures, values = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [4.0, 4.0], 5.0
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -1024, "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    shared.PixelValueTransformationSequence = [values]
    order = range(len(hu) - 1, -1, -1)
    for z in order:
        plane, group = Dataset(), Dataset()
        plane.ImagePositionPatient = [files.origin[0], files.origin[1], files.origin[2] + 5.0 * z]
        group.PlanePositionSequence = [plane]
        groups.append(group)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], groups
    dataset.NumberOfFrames = len(hu)
    dataset.PixelData = np.stack([hu[z] + 1024 for z in order]).astype(np.int16).tobytes()
    for name, value in change.items():
        setattr(dataset, name, value)
    return dataset


def test_enhanced_multi_frame_ct_is_read_by_its_functional_groups(tmp_path, files):
    path = tmp_path / "enhanced.dcm"
    enhanced(files, files.chest()).save_as(path, enforce_file_format=True)
    np.testing.assert_array_equal(read([path]).hu, files.chest())


def test_projections_and_localizers_among_frames_are_no_scan(tmp_path, files):
    path = tmp_path / "enhanced.dcm"
    enhanced(files, files.chest(), VolumeBasedCalculationTechnique="MAX_IP").save_as(path, enforce_file_format=True)
    assert read_header(path).ignored == "not a slice of a scan: VolumeBasedCalculationTechnique MAX_IP"
    dataset, kind = enhanced(files, files.chest()), Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    dataset.PerFrameFunctionalGroupsSequence[2].CTImageFrameTypeSequence = [kind]
    dataset.save_as(path, enforce_file_format=True)
    assert read_header(path).problem == "frame 3: a frame must be a slice of a scan, got FrameType LOCALIZER"
    kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.save_as(path, enforce_file_format=True)
    assert read_header(path).problem is None


def test_label_maps_of_multi_frame_files_are_assigned_by_name(tmp_path, files):
    for number, name in enumerate("ab"):
        hu = files.chest(seed=number)
        enhanced(files, hu).save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
        files.nifti(tmp_path / f"{name}-labels.nii.gz", files.codes(hu))
    found = discover(tmp_path)
    assert [scan.source.name for scan in found.scans] == ["a.dcm", "b.dcm"]
    assert [label.path.name for scan in found.scans for label in scan.labels] == ["a-labels.nii.gz", "b-labels.nii.gz"]


def test_enhanced_ct_without_a_group_per_frame_is_refused(tmp_path, files):
    path = tmp_path / "enhanced.dcm"
    enhanced(files, files.chest(), NumberOfFrames=5).save_as(path, enforce_file_format=True)
    with pytest.raises(InputError, match=r"one functional group per frame \(5\), got 6"):
        read([path])


def test_an_enhanced_file_states_its_kernel_in_a_functional_group(files, tmp_path):
    dataset, group = enhanced(files, files.chest(), Manufacturer="Canon"), Dataset()
    group.ConvolutionKernel = ["Br40d", "3"]
    dataset.SharedFunctionalGroupsSequence[0].CTReconstructionSequence = [group]
    dataset.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    technique = read_series(assemble([read_header(tmp_path / "ct.dcm")])).technique
    assert technique == Technique(5.0, "Br40d\\3", "Canon")
