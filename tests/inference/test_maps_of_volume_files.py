"""Maps of a volume file have the array order and the affine of the file."""

import sys
from itertools import permutations
from pathlib import Path

import nibabel
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles

from ildfv.inference.inbox import predict_all
from ildfv.viewer.study import open_study

FLIPS = [(0, 0, 0), (1, 0, 1), (0, 1, 1)]
PATTERN = "ground-glass-contributions.nii.gz"


def rearranged(image, order, flips):
    """The image with its axes permuted and flipped, at the same positions in the world."""
    orientation = np.array([[axis, -1 if flipped else 1] for axis, flipped in zip(order, flips, strict=True)])
    return image.as_reoriented(orientation)


@pytest.fixture(scope="module")
def usual(folder, tmp_path_factory):
    """(the scan, its map of ground glass) in the usual order."""
    root = tmp_path_factory.mktemp("usual")
    ScanFiles.nifti(root / "ct.nii.gz", ScanFiles.chest())
    return nibabel.load(root / "ct.nii.gz"), written_map(root / "ct.nii.gz", folder, root / "out")


def written_map(scan, folder, out):
    answered, failed = predict_all([scan], folder, out=out)
    assert (len(answered), failed) == (1, [])
    (path,) = out.glob(f"*/{PATTERN}")
    return nibabel.load(path)


# Each order of the axes, and each of three sets of flipped axes with an even and an odd order.
@pytest.mark.parametrize(("order", "flips"), list(zip(permutations(range(3)), FLIPS + FLIPS[::-1], strict=True)))
def test_maps_of_permuted_and_flipped_files_overlay_the_file(folder, usual, tmp_path, order, flips):
    scan, expected = (rearranged(one, order, flips) for one in usual)
    nibabel.save(scan, tmp_path / "ct.nii.gz")
    found = written_map(tmp_path / "ct.nii.gz", folder, tmp_path / "out")
    assert found.shape == scan.shape
    np.testing.assert_allclose(found.affine, scan.affine, atol=1e-4)
    np.testing.assert_allclose(found.get_fdata(), expected.get_fdata(), atol=1e-6)


# Slices along the last axis, from feet to head and from head to feet, and along the first axis.
@pytest.mark.parametrize(("order", "flips"), [((0, 1, 2), (1, 1, 0)), ((1, 0, 2), (1, 0, 1)), ((2, 0, 1), (0, 1, 0))])
def test_the_viewer_shows_the_same_maps_for_permuted_and_flipped_files(folder, usual, tmp_path, order, flips):
    shown = []
    for name, scan in (("usual", usual[0]), ("other", rearranged(usual[0], order, flips))):
        (tmp_path / name).mkdir()
        nibabel.save(scan, tmp_path / name / "ct.nii.gz")
        written_map(tmp_path / name / "ct.nii.gz", folder, tmp_path / name / "out")
        (answer,) = (tmp_path / name / "out").glob("scan-*")
        with open_study([answer, tmp_path / name / "ct.nii.gz"]) as study:
            (viewed,) = study.scans
            planes = np.stack([viewed.maps[0].read(z) for z in range(len(viewed))])
            images = np.stack([viewed.images.read(z) for z in range(len(viewed))])
            shown.append((viewed.maps[0].describe()["scale"], planes, images))
    (scale, planes, images), (other_scale, other_planes, other_images) = shown
    np.testing.assert_array_equal(images, other_images)
    assert other_scale == pytest.approx(scale, rel=1e-3)
    np.testing.assert_allclose(other_planes.astype(int), planes.astype(int), atol=1)
    assert np.abs(planes.astype(int)).max() == 127


def test_a_map_of_an_nrrd_file_has_its_array_order(folder, usual, tmp_path):
    from ildfv.inference.outputs import write_map
    from ildfv.scans.geometry import Geometry

    planes = np.random.default_rng(0).random((3, 224, 224))
    canonical = Geometry((3, 224, 224), np.zeros(3), np.diag([5.0, 2, 2])[:, ::-1])
    stored = Geometry((3, 224, 224), np.zeros(3), canonical.steps)  # slices first
    write_map(tmp_path / "a.nii.gz", planes, canonical)
    write_map(tmp_path / "b.nii.gz", planes, canonical, stored=stored)
    a, b = (nibabel.load(tmp_path / name).get_fdata() for name in ("a.nii.gz", "b.nii.gz"))
    np.testing.assert_array_equal(a.transpose(2, 1, 0), b)
