"""Volumes of prepared slices as NIfTI files, read back with nibabel."""

import nibabel
import numpy as np

from ildfv.inference.nifti import hounsfield, read_volume, slice_affine, write_volume
from ildfv.scans.windows import GRID, NORMAL, SIZE


def test_a_volume_is_read_back_as_written_with_its_grid(tmp_path):
    volume = np.random.default_rng(0).integers(0, 5, (3, 4, 6)).astype(np.uint8)
    affine = slice_affine(0.25, np.array([10.0, 12.5, 15.0]))
    write_volume(tmp_path / "a.nii.gz", volume, affine, "PHANTOM, not clinical")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz"), volume)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.shape == (6, 4, 3)
    np.testing.assert_allclose(image.header.get_zooms(), (0.5 * GRID / SIZE, 0.5 * GRID / SIZE, 2.5))
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)
    np.testing.assert_allclose(image.affine @ [0, 0, 2, 1], [0, 0, 15, 1], atol=1e-5)
    assert bytes(image.header["descrip"]).rstrip(b"\0") == b"PHANTOM, not clinical"


def test_a_single_slice_is_one_millimetre_thick():
    assert slice_affine(1.0, np.array([7.0]))[2].tolist() == [0, 0, 1, 7]


def test_grey_levels_of_the_normal_window_become_hounsfield_units():
    images = np.zeros((1, 3, 1, 3), np.uint8)
    images[0, NORMAL, 0] = [0, 51, 255]
    assert hounsfield(images).tolist() == [[[-1400, -1080, 200]]]
