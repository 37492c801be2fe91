"""Geometry is compared with the best even grid; the tolerance covers rounded headers and is below half a voxel."""

import numpy as np
import pytest

from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.geometry import Geometry, checked, difference, tolerance
from ildfv.scans.read_header import read_header


def assembled(paths):
    return assemble([read_header(path) for path in paths])


def at(z_of, decimals=4):
    """A change that moves slice z to z_of(z) mm, rounded."""

    def change(z, dataset):
        x, y, _ = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, f"{z_of(z):.{decimals}f}"]
        return dataset

    return change


@pytest.mark.parametrize("m", [2, 3, 16, 120])
@pytest.mark.parametrize(
    ("step", "decimals"), [(0.625, 1), (0.75, 1), (1.25, 1), (0.3, 1), (0.6, 1), (2.5, 0), (1.6, 0), (3.75, 0)]
)
def test_rounded_positions_are_an_even_grid(tmp_path, files, step, decimals, m):
    paths = files.series(tmp_path, files.chest(m), change=at(lambda z: -301.37 + step * z, decimals))
    grid = assembled(paths).geometry
    assert abs(grid.spacing[0] - step) <= 10.0**-decimals / (m - 1)
    assert abs(grid.origin[2] - -301.37) <= 10.0**-decimals


@pytest.mark.parametrize("step", [0.625, 2.5, 5.0])
@pytest.mark.parametrize("left_out", [1, 9, 18])
def test_a_missing_slice_is_found_in_rounded_positions(tmp_path, files, step, left_out):
    change = at(lambda z: -300.3 + step * z, 1)
    paths = files.series(tmp_path, files.chest(20), change=lambda z, d: None if z == left_out else change(z, d))
    with pytest.raises(InputError, match=r"evenly spaced.*slices missing: 1"):
        assembled(paths)


def test_a_slice_between_its_place_and_the_next_is_refused(tmp_path, files):
    change = at(lambda z: -300.3 + z + (0.45 if z == 7 else 0))
    with pytest.raises(InputError, match="uneven spacing"):
        assembled(files.series(tmp_path, files.chest(20), change=change))


def test_two_slice_distances_are_refused(tmp_path, files):
    change = at(lambda z: -300.3 + (z if z < 10 else 10 + 1.5 * (z - 10)))
    with pytest.raises(InputError, match="uneven spacing"):
        assembled(files.series(tmp_path, files.chest(20), change=change))


def test_orientations_and_spacings_that_differ_in_the_last_decimals_are_one_grid(tmp_path, files):
    def change(z, dataset):
        if z % 2:
            dataset.ImageOrientationPatient = [1, 0.0005, 0, -0.0005, 1, 0]
            dataset.PixelSpacing = ["0.7031", "0.7031"]
        else:
            dataset.PixelSpacing = ["0.703125", "0.703125"]
        return dataset

    volume = read_series(assembled(files.series(tmp_path, files.chest(), change=change)))
    np.testing.assert_array_equal(volume.hu, files.chest())


@pytest.mark.parametrize("spacing", [[4.1, 4.1], [4.0, 4.1]])
def test_another_spacing_in_one_slice_is_refused(tmp_path, files, spacing):
    def change(z, dataset):
        if z == 3:
            dataset.PixelSpacing = spacing
        return dataset

    with pytest.raises(InputError, match=r"4 × 4 mm in 5 of 6 slices; 4(\.1)? × 4\.1 mm in 1 of 6 slices: use another"):
        assembled(files.series(tmp_path, files.chest(), change=change))


def test_label_maps_with_rounded_headers_belong_to_their_scan(tmp_path, files):
    hu = files.chest()
    spacing = {"PixelSpacing": ["0.703125", "0.703125"]}
    files.series(tmp_path / "p/ct", hu, **spacing)
    affine = files.affine()
    affine[0, 0], affine[1, 1] = -0.703, -0.703
    affine[:3, 3] = np.round(affine[:3, 3], 1)
    files.nifti(tmp_path / "p/labels.nii.gz", files.codes(hu), affine=affine)
    (scan,) = discover(tmp_path).scans
    assert [label.path.name for label in scan.labels] == ["labels.nii.gz"]


def test_a_grid_shifted_by_half_a_voxel_is_another_grid():
    steps = np.diag([0.625, 0.7, 0.7])
    scan = checked((4, 64, 64), (0, 0, 0), steps)
    assert difference(scan, checked((4, 64, 64), (0, 0.25, 0.2), steps)) is None
    for shift in [(0.3125, 0, 0), (0, 0.35, 0), (0, 0, 0.35)]:
        assert "must have the scan's grid" in difference(scan, checked((4, 64, 64), shift, steps))


def test_the_tolerance_is_less_than_half_a_voxel_for_every_spacing():
    spacings = np.geomspace(0.01, 20, 50)
    found = np.array([tolerance(spacing) for spacing in spacings])
    assert (found < spacings / 2).all()
    assert (np.diff(found) >= 0).all()
    assert (found >= spacings / 10).all()


def test_positions_of_uneven_slices_are_those_of_the_slices():
    steps = np.array([[0.0, 0.0, 2.0], [0.0, 0.7, 0.0], [0.7, 0.0, 0.0]])
    grid = Geometry((4, 8, 8), np.array([0.0, 0.0, 10.0]), steps, slices=np.array([0.0, 0.5, 2.5, 3.0]))
    assert grid.positions.tolist() == [10, 11, 15, 16]
