"""Lung masks of prepared slices, by the rule or by lungmask."""

import sys
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest

from ildfv.errors import InputError, MissingPackageError
from ildfv.scans import prepared_lungs as lungs_module
from ildfv.scans.prepared_lungs import lungs, lungs_of


@pytest.fixture
def slices():
    """Six slices of lung inside a wall of soft tissue."""
    pixels = np.random.default_rng(0).normal(100, 5, (6, 3, 224, 224)).astype(np.uint8)
    wall = np.ones((224, 224), bool)
    wall[80:-80, 80:-80] = False
    pixels[..., wall] = 230  # 43 HU in the normal window
    return SimpleNamespace(images=lambda indices: pixels[indices], paper_pixel_area=np.full(6, 0.5))


def test_lungs_are_inside_the_chest(slices):
    found = lungs(slices, [0, 5])
    assert found.shape == (2, 224, 224)
    assert found[:, 100:124, 100:124].mean() > 0.9
    assert not found[:, :70].any()


def test_lungmask_receives_hu_and_its_labels_become_a_mask(slices, monkeypatch):
    seen = []

    def apply(hu):
        seen.append(hu)
        return np.where(hu < -320, 2, 0)

    lungs_module._lungmask.cache_clear()

    def inferer(*, volume_postprocessing, tqdm_disable):
        assert not volume_postprocessing  # slices are of many volumes, so a mask must not depend on other slices
        return SimpleNamespace(apply=apply)

    package = SimpleNamespace(LMInferer=inferer)
    monkeypatch.setitem(sys.modules, "lungmask", package)
    found = lungs(slices, [0], "lungmask")
    lungs_module._lungmask.cache_clear()
    assert seen[0].shape == (1, 224, 224)
    assert -1400 <= seen[0].min() <= seen[0].max() <= 200
    assert found.dtype == bool
    assert found.any()


def test_without_lungmask_the_error_states_how_to_install_it(slices, monkeypatch):
    monkeypatch.setitem(sys.modules, "lungmask", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        lungs(slices, [0], "lungmask")
    with pytest.raises(InputError, match="rule or lungmask"):
        lungs(slices, [0], "by hand")


def test_unavailable_lungmask_weights_give_a_one_line_error(slices, monkeypatch):
    def inferer(**_):
        raise URLError("Name or service not known")

    lungs_module._lungmask.cache_clear()
    monkeypatch.setitem(sys.modules, "lungmask", SimpleNamespace(LMInferer=inferer))
    with pytest.raises(InputError, match=r"must be able to download its weights on first use: .*Name or service"):
        lungs(slices, [0], "lungmask")


def test_a_trachea_with_a_blurred_wall_is_not_lung():
    hu = np.full((224, 224), 30.0)
    hu[60:160, 30:90] = hu[60:160, 130:190] = -860  # lungs
    hu[90:110, 105:117] = -1000  # trachea, in a ring that is half wall
    hu[[90, 109], 105:117] = hu[90:110, 105] = hu[90:110, 116] = -500
    grey = np.round((hu + 1400) * (255 / 1600)).astype(np.uint8)
    images = np.repeat(grey[None, None], 3, axis=1)
    found = lungs_of(images, np.array([0.5]))[0]
    assert found[60:160, 30:90].all()
    assert found[60:160, 130:190].all()
    assert not found[:, 100:120].any()
