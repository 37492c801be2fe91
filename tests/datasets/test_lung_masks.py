"""The user's lung masks: one per scan, on its grid, used for lung area, densities and --region lung."""

import numpy as np
import pytest
from PIL import Image

from ildfv.datasets.lung_masks import read_lung_mask
from ildfv.errors import InputError
from ildfv.pipeline.choices import LUNG
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.regions import Region
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.density import SCALARS
from ildfv.scans.volumefiles import file_geometry

nibabel = pytest.importorskip("nibabel")
pytestmark = pytest.mark.usefixtures("inline")
AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])  # the axes of a canonical grid (LPS) in the RAS coordinates of NIfTI


def scan(folder, seed=0, slices=3):
    """A NIfTI chest of 96×96 pixels with two lungs of −860 and −700 HU."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96] / 96 - 0.5
    hu = np.where((x / 0.45) ** 2 + (y / 0.38) ** 2 < 1, 40.0, -1000.0)
    for centre, inside in ((-0.2, -860), (0.2, -700)):
        hu[((x - centre) / 0.14) ** 2 + (y / 0.25) ** 2 < 1] = inside
    volume = np.stack([hu + random.normal(0, 20, hu.shape) * (hu > -990) for _ in range(slices)], axis=-1)
    folder.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume.transpose(1, 0, 2).astype(np.int16), AFFINE), folder / "ct.nii.gz")


def mask(path, slices=3, side=96, value=1):
    """A mask of the left half of the left lung in the image."""
    found = np.zeros((side, side, slices), np.uint8)
    found[24:32, 36:60] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(found, AFFINE), path)


def test_area_densities_and_region_are_those_of_the_mask(tmp_path):
    for number, name in enumerate(("anna", "bert")):
        scan(tmp_path / "scans" / name, number)
        mask(tmp_path / "masks" / name / "ct.nii.gz", value=1 + number)
    report = prepare_scans(
        tmp_path / "scans", tmp_path / "study", lung_masks=tmp_path / "masks", salt="0123456789abcdef", workers=1
    )
    assert report["scans"] == 2
    assert all("the lung is taken from the given mask" in one["notes"] for one in report["prepared"])
    slices = Workspace.open(tmp_path / "study").slices()
    assert slices.lung.tolist() == [8 * 24] * 6
    assert slices.densities()[:, SCALARS.index("mean-density")] == pytest.approx(-860, abs=5)
    region = Region(tmp_path / "study", slices, LUNG)
    region.write()
    found = region.masks(np.arange(6))
    assert found.mean(axis=(1, 2)) == pytest.approx(8 * 24 / 96**2, rel=0.05)
    assert found[0].any(axis=0).argmax() == pytest.approx(24 * 224 / 96, abs=1)


def test_a_scan_with_another_mask_is_prepared_again(tmp_path):
    scan(tmp_path / "scans" / "anna")
    mask(tmp_path / "masks" / "anna" / "ct.nii.gz")
    given = {"lung_masks": tmp_path / "masks", "workers": 1}
    prepare_scans(tmp_path / "scans", tmp_path / "study", **given)
    assert prepare_scans(tmp_path / "scans", tmp_path / "study", **given)["kept"] == 1
    mask(tmp_path / "masks" / "anna" / "ct.nii.gz", value=7)
    assert prepare_scans(tmp_path / "scans", tmp_path / "study", **given)["kept"] == 0


def test_a_scan_without_a_mask_is_quarantined_and_masks_among_the_scans_are_refused(tmp_path):
    for name in ("anna", "bert"):
        scan(tmp_path / "scans" / name)
    mask(tmp_path / "masks" / "anna" / "ct.nii.gz")
    given = {"lung_masks": tmp_path / "masks", "workers": 1}
    report = prepare_scans(tmp_path / "scans", tmp_path / "study", **given)
    assert report["scans"] == 1
    assert "a scan must have a lung mask, got none named bert/ct" in report["quarantined"][0]["reason"]
    mask(tmp_path / "masks" / "anna" / "ct.nii")
    report = prepare_scans(tmp_path / "scans", tmp_path / "other", **given)
    assert report["scans"] == 0
    assert any("a scan must have one lung mask, got ct.nii, ct.nii.gz" in q["reason"] for q in report["quarantined"])
    with pytest.raises(InputError, match="lung masks must be outside the folder of scans"):
        prepare_scans(tmp_path / "scans", tmp_path / "third", lung_masks=tmp_path / "scans" / "anna", workers=1)


def test_a_mask_on_another_grid_or_without_lung_is_refused(tmp_path):
    scan(tmp_path)
    grid = file_geometry(tmp_path / "ct.nii.gz", "nifti")
    faults = {"must have shape": {"side": 64}, "must have shape ": {"slices": 2}, "must mark lung": {"value": 0}}
    for reason, fault in faults.items():
        mask(tmp_path / "mask.nii.gz", **fault)
        with pytest.raises(InputError, match=f"lung mask mask.nii.gz {reason}"):
            read_lung_mask(tmp_path / "mask.nii.gz", "nifti", grid)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"lung mask mask.png must be NIfTI, NRRD or MetaImage"):
        read_lung_mask(tmp_path / "mask.png", "nifti", grid)
