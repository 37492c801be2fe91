"""Every voxel of a segmentation and of a map lies where it belongs in the patient, whatever the orientation."""

from pathlib import Path
from typing import NamedTuple

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from made import GEOMETRIES, SHEARED, prediction_of, scan_of, series
from pydicom import dcmread
from scipy import ndimage

from ildfv.datasets.convert import read_volume
from ildfv.datasets.records import Scan
from ildfv.dicom_output.origin import Origin
from ildfv.dicom_output.parametric_map import parametric_map
from ildfv.dicom_output.regions import regions
from ildfv.dicom_output.segmentation import segmentation
from ildfv.dicom_output.sources import Source
from ildfv.inference.outputs import to_scan_grid
from ildfv.patterns import PATTERNS
from ildfv.scans.labels import MEANINGS, Codes
from ildfv.scans.libraries import quiet
from ildfv.scans.segmentation import read_segmentation

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SIZES = {"square": {}, "wide": {"rows": 50}, "tall": {"columns": 60}}


MAPPED = 2  # number of the pattern whose map is read back


def origin_of(scan, **options) -> Origin:
    return Origin(prediction_of(scan, **options), Source.of(scan.dicom))


def voxels_of(dataset, frame: int) -> np.ndarray:
    """Patient positions of all pixels of a frame, (rows, columns, 3), from the functional groups alone."""
    own, shared = dataset.PerFrameFunctionalGroupsSequence[frame], dataset.SharedFunctionalGroupsSequence[0]
    position = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    i, j = np.mgrid[: dataset.Rows, : dataset.Columns]
    right, down = orientation[:3] * spacing[1], orientation[3:] * spacing[0]
    return position + i[..., None] * down + j[..., None] * right


def looked_up(volume: np.ndarray, geometry, points: np.ndarray) -> np.ndarray:
    """Values of a canonical volume at patient positions, which must be those of its voxels."""
    index = (points - geometry.origin) @ np.linalg.inv(geometry.steps)
    assert np.abs(index - np.rint(index)).max() < 0.01
    z, y, x = np.moveaxis(np.rint(index).astype(int), -1, 0)
    assert min(z.min(), y.min(), x.min()) >= 0
    return volume[z, y, x]


def saved(dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


class Written(NamedTuple):
    """The files of a scan and of the objects written for it."""

    name: str
    paths: list[Path]
    scan: Scan
    origin: Origin
    segmentation: Path
    map: Path


@pytest.fixture(scope="module", params=GEOMETRIES)
def written(request, tmp_path_factory) -> Written:
    folder = tmp_path_factory.mktemp("scan")
    paths = series(folder / "ct", request.param, m=4)
    scan = scan_of(folder / "ct")
    origin = origin_of(scan)
    with quiet():
        objects = (
            saved(segmentation(origin), folder / "seg.dcm"),
            saved(parametric_map(origin, MAPPED), folder / "m.dcm"),
        )
    return Written(request.param, paths, scan, origin, *objects)


def map_values(origin: Origin) -> np.ndarray:
    return to_scan_grid(origin.prediction.contributions[:, MAPPED], origin.prediction.shape)


def test_each_voxel_of_a_segment_lies_in_its_region(written):
    seg, grid = dcmread(written.segmentation), written.scan.geometry
    frames = seg.pixel_array
    expected = dict(zip(PATTERNS, regions(written.origin.prediction), strict=True))
    names = [item.SegmentLabel for item in seg.SegmentSequence]
    found = dict.fromkeys(names, 0)
    for k, group in enumerate(seg.PerFrameFunctionalGroupsSequence):
        name = names[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        np.testing.assert_array_equal(frames[k], looked_up(expected[name], grid, voxels_of(seg, k)))
        found[name] += int(frames[k].sum())
    assert found == {name: int(volume.sum()) for name, volume in expected.items()}  # no voxel is missing


def test_each_frame_refers_to_the_image_at_its_position(written):
    seg, places = dcmread(written.segmentation), {}
    for path in written.paths:
        image = dcmread(path, stop_before_pixels=True)
        places[image.SOPInstanceUID] = list(image.ImagePositionPatient)
    for group in seg.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert list(group.PlanePositionSequence[0].ImagePositionPatient) == places[source.ReferencedSOPInstanceUID]
    (referenced,) = seg.ReferencedSeriesSequence
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == set(places)
    assert referenced.SeriesInstanceUID == written.scan.dicom.series


def test_ildfv_reads_its_own_segmentation_as_labels_of_the_scan(written, tmp_path):
    origin = origin_of(written.scan, overlap=False)
    with quiet():
        path = saved(segmentation(origin), tmp_path / "seg.dcm")
        meanings = read_segmentation(path, written.scan.geometry, Codes({0: "outside"}))
    for pattern, region in zip(PATTERNS, regions(origin.prediction), strict=True):
        np.testing.assert_array_equal(meanings == MEANINGS.index(pattern), region)


def test_each_value_of_a_map_is_the_contribution_at_its_place(written):
    image, expected = dcmread(written.map), map_values(written.origin)
    mapping = image.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    values = image.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "{score}"
    assert image.NumberOfFrames == len(expected)
    for k in range(len(values)):
        at = looked_up(expected, written.scan.geometry, voxels_of(image, k))
        np.testing.assert_allclose(values[k], at, atol=0.51 * mapping.RealWorldValueSlope)


def test_highdicom_reads_the_map_as_a_volume_on_the_grid_of_the_scan(written):
    if written.name in SHEARED:
        pytest.skip("a volume of highdicom has orthogonal axes")
    with quiet():
        ct = hd.get_volume_from_series([dcmread(path) for path in written.paths])
        volume = hd.imread(written.map).get_volume(apply_real_world_transform=True)
        matched = volume.match_geometry(ct.get_geometry())
    points = np.stack(np.meshgrid(*[np.arange(n) for n in matched.spatial_shape], indexing="ij"), axis=-1)
    places = points @ matched.affine[:3, :3].T + matched.affine[:3, 3]
    expected = looked_up(map_values(written.origin), written.scan.geometry, places)
    np.testing.assert_allclose(matched.array, expected, atol=1e-4)


def test_simpleitk_reads_the_map_in_the_same_place(written, tmp_path):
    if written.name in SHEARED:
        pytest.skip("an image of SimpleITK has orthogonal axes")
    image = dcmread(written.map)
    # SimpleITK does not know the SOP class of parametric maps, so only that is replaced.
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    read = sitk.ReadImage(saved(image, tmp_path / "map.dcm"))
    mapping = image.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    values = sitk.GetArrayFromImage(read) * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    z, y, x = np.mgrid[tuple(slice(n) for n in values.shape)]
    direction = np.array(read.GetDirection()).reshape(3, 3) * read.GetSpacing()
    places = np.stack([x, y, z], axis=-1) @ direction.T + read.GetOrigin()
    expected = looked_up(map_values(written.origin), written.scan.geometry, places)
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_simpleitk_reads_all_frames_of_a_segmentation(written):
    read = sitk.GetArrayFromImage(sitk.ReadImage(written.segmentation))
    np.testing.assert_array_equal(read > 0, dcmread(written.segmentation).pixel_array)


@pytest.mark.parametrize("size", SIZES)
def test_scans_that_are_not_square_keep_their_pixels(size, tmp_path):
    series(tmp_path / "ct", "mirrored", **SIZES[size])
    scan = scan_of(tmp_path / "ct")
    origin = origin_of(scan)
    with quiet():
        seg = dcmread(saved(segmentation(origin), tmp_path / "seg.dcm"))
    assert (seg.Rows, seg.Columns) == scan.geometry.shape[1:]
    expected = regions(origin.prediction)[0]
    groups = [group.SegmentIdentificationSequence[0] for group in seg.PerFrameFunctionalGroupsSequence]
    frames = [k for k, group in enumerate(groups) if group.ReferencedSegmentNumber == 1]
    assert seg.pixel_array[frames].sum() == expected.sum()
    for k in frames:
        found = looked_up(expected, scan.geometry, voxels_of(seg, k))
        np.testing.assert_array_equal(seg.pixel_array[k], found)


def test_a_region_contains_the_pixels_whose_contributions_exceed_the_required_mean(tmp_path, monkeypatch):
    monkeypatch.setattr("ildfv.dicom_output.regions.near_lung", lambda prediction, z: np.ones((224, 224), bool))
    series(tmp_path / "ct", m=3, rows=48)
    prediction = prediction_of(scan_of(tmp_path / "ct"))
    prediction.contributions[:] = -1.0
    prediction.contributions[0, 0, 28:196, 60:120] = 1.0
    prediction.heads["fv-conv1"].scores[0, 0] = prediction.contributions[0, 0].sum() + 0.5
    found = regions(prediction)[0]
    rows, columns = np.nonzero(found[0])
    # Row 0 of the scan is network row 28: (64 − 48) / 2 rows of padding on each side, of 3.5 network pixels each.
    assert (rows.min(), rows.max()) == (0, 47)
    assert (columns.min(), columns.max()) == (60 * 64 // 224, 120 * 64 // 224 - 1)
    assert not found[1].any()  # the pattern is not present there


def test_a_region_covers_the_lung_and_no_more_than_a_margin_around_it(tmp_path):
    series(tmp_path / "ct", "mirrored", m=3)
    prediction = prediction_of(scan_of(tmp_path / "ct"))
    prediction.contributions[:] = 1.0
    prediction.heads["fv-conv1"].scores[0, 0] = prediction.contributions[0, 0].sum() + 0.5
    found = regions(prediction)[0, 0]
    with quiet():
        hu = read_volume(scan_of(tmp_path / "ct")).hu[0]
    inside = ndimage.binary_erosion(ndimage.binary_fill_holes(hu > -500), iterations=3)
    lung = ndimage.binary_opening((hu < -600) & inside)
    assert found[lung].all()
    assert not found[~ndimage.binary_dilation(lung, iterations=3)].any()
