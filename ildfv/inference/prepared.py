"""The slices of a scan, prepared like training slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ildfv.scans.density import COLUMNS, density
from ildfv.scans.lungs import MIN_LUNG_AREA, check_lung, lung_at_border, lung_mask
from ildfv.scans.volume import Volume
from ildfv.scans.windows import SIZE, WINDOWS, windowed
from ildfv.streaming.threads import in_order, split_cores


@dataclass(frozen=True)
class PreparedSlices:
    """images: uint8 (m, 3, 224, 224). lung: cm² of each slice, (m,). inputs: further numbers by name, (m,) each."""

    images: np.ndarray
    lung: np.ndarray
    inputs: dict[str, np.ndarray]


def prepared(volume: Volume, inputs: Sequence[str] = ()) -> PreparedSlices:
    """The prepared slices of a volume. inputs: densities of the lung (`scans.density`) that are needed.

    InputError: no slice shows lung.
    """
    m = len(volume.hu)
    images = np.empty((m, len(WINDOWS), SIZE, SIZE), np.uint8)
    lung = np.empty(m)
    densities = np.full((m, len(COLUMNS)), np.nan)

    def prepare(z: int) -> None:
        images[z] = windowed(volume.hu[z])
        mask = lung_mask(volume.hu[z], volume.pixel_area)
        lung[z] = np.count_nonzero(mask)
        if inputs:
            densities[z] = density(volume.hu[z], mask)

    for _ in in_order(prepare, range(m), workers=split_cores()[0]):
        pass
    if lung.max() * volume.pixel_area < MIN_LUNG_AREA:
        check_lung(lung, volume.pixel_area, np.array([lung_at_border(one, volume.pixel_area) for one in volume.hu]))
    wanted = {name: densities[:, COLUMNS.index(name)].astype(np.float32) for name in inputs}
    return PreparedSlices(images, lung * volume.pixel_area / 100, wanted)
