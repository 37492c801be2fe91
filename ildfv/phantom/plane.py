"""One axial plane of a chest, without the inside of the lungs."""

from dataclasses import dataclass

import numpy as np

from ildfv.kernels.drawing import doubled
from ildfv.phantom.body import body
from ildfv.phantom.chest import Chest


@dataclass(frozen=True)
class Plane:
    """One axial plane of a chest."""

    lung: np.ndarray  # signed distance to the surface of the lung in mm, negative inside, (512, 512)
    tissue: np.ndarray  # HU of everything that is not lung, (512, 512)
    pleura: np.ndarray  # depth below the costal pleura in mm, 0 outside the lung, (256, 256)


def plane(chest: Chest, z: float) -> Plane:
    """The plane at height z mm, drawn at half the resolution except for the surfaces of bone, skin and lung."""
    half = chest.patient.grid.coarse(2)
    section = chest.section(half, z)
    lung = chest.lung_in(section)
    return Plane(doubled(lung), body(chest, section), chest.pleura(half, z, lung))
