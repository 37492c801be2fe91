"""The slices of a scan, prepared like training slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ildfv.inference.batch import SliceBatch
from ildfv.scans.density import COLUMNS, density
from ildfv.scans.hounsfield import mean_hounsfield
from ildfv.scans.image_lungs import image_lungs
from ildfv.scans.lungs import MIN_LUNG_AREA, check_lung, lung_at_border, lung_mask
from ildfv.scans.prepared_lungs import LUNGMASK, scan_lungs
from ildfv.scans.volume import Volume
from ildfv.scans.windows import SIZE, WINDOWS, nearest, windowed
from ildfv.streaming.threads import in_order, split_cores


@dataclass(frozen=True)
class PreparedSlices:
    """The prepared slices of a scan, and the area of lung on each slice, cm², (m,)."""

    batch: SliceBatch
    lung: np.ndarray


def lung_masks(volume: Volume, lungs: str, given: np.ndarray | None, *, is_image: bool) -> np.ndarray | None:
    """Masks of the lung, bool (m, rows, columns), found as on training slices; None for the built-in rule.

    lungs: method that finds the lung of a scan, as in `Preparation`. given: the user's masks on the grid of the volume,
    which are returned if there are any. is_image: whether the volume is an image, whose lung may touch its border
    (`scans.image_lungs`).
    """
    if given is not None:
        return given
    if is_image:
        return np.stack([image_lungs(one, volume.pixel_area) for one in volume.hu])
    return scan_lungs(volume.hu) if lungs == LUNGMASK else None


Then = Callable[[slice, SliceBatch, dict[str, np.ndarray]], None]


def prepared(
    volume: Volume,
    inputs: Sequence[str] = (),
    *,
    hounsfield: bool = False,
    masks: np.ndarray | None = None,
    are_given: bool = False,
    batches: Iterable[slice] = (),
    then: Then = lambda rows, batch, inputs: None,
) -> PreparedSlices:
    """The prepared slices of a volume.

    inputs: names of the lung densities (`scans.density`) that are needed. hounsfield: whether the slices in HU are
    needed. masks: the result of `lung_masks`. are_given: whether the user gave the masks, whose area is then not
    checked. batches: rows of each batch, in ascending order. As soon as the slices of a batch are prepared, `then` is
    called with their rows, the batch and its inputs, while the slices of later batches are prepared in other threads.
    InputError: no slice shows lung.
    """
    m = len(volume.hu)
    images = np.empty((m, len(WINDOWS), SIZE, SIZE), np.uint8)
    lung = np.empty(m)
    densities = np.full((m, len(COLUMNS)), np.nan)
    hu = np.empty((m, 1, SIZE, SIZE), np.int16) if hounsfield else None
    batch = SliceBatch(images, volume.paper_pixel_area, hu, None if masks is None else nearest(masks))

    def prepare(z: int) -> None:
        images[z] = windowed(volume.hu[z])
        mask = lung_mask(volume.hu[z], volume.pixel_area) if masks is None else masks[z]
        lung[z] = np.count_nonzero(mask)
        if hu is not None:
            hu[z, 0] = mean_hounsfield(volume.hu[z])
        if inputs:
            densities[z] = density(volume.hu[z], mask)

    def inputs_of(rows: slice) -> dict[str, np.ndarray]:
        return {name: densities[rows, COLUMNS.index(name)].astype(np.float32) for name in inputs}

    waiting = list(batches)
    for z, _ in enumerate(in_order(prepare, range(m), workers=split_cores()[0])):
        while waiting and z + 1 >= min(waiting[0].stop, m):
            rows = waiting.pop(0)
            then(rows, batch[rows], inputs_of(rows))
    if not are_given and lung.max() * volume.pixel_area < MIN_LUNG_AREA:
        check_lung(lung, volume.pixel_area, np.array([lung_at_border(one, volume.pixel_area) for one in volume.hu]))
    return PreparedSlices(batch, lung * volume.pixel_area / 100)
