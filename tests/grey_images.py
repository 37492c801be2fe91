"""Grey images of generated chest slices, for tests of images that are read as HU."""

import numpy as np
from PIL import Image

from ildfv.scans.grey import Grey

WINDOW = Grey(-1350.0, 150.0)
HALF_LUNG = -860.0


def chest(seed=0, side=128, cropped=False):
    """HU of a slice of air, a body and two lungs; with `cropped`, the part around the lungs, which touch its border."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    hu = np.where((x / 0.45) ** 2 + (y / 0.38) ** 2 < 1, 40.0, -1000.0)
    for centre in (-0.2, 0.2):
        hu[((x - centre) / 0.14) ** 2 + (y / 0.25) ** 2 < 1] = HALF_LUNG
    hu += np.random.default_rng(seed).normal(0, 25, hu.shape) * (hu > -990)
    return hu[side // 3 : 2 * side // 3, side // 8 : -side // 8] if cropped else hu


def grey(hu, window=WINDOW, dtype=np.uint8):
    """The grey levels of an image that was exported with this window."""
    most = np.iinfo(dtype).max
    return np.clip((hu - window.low) / (window.high - window.low) * most, 0, most).round().astype(dtype)


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path
