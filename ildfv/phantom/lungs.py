"""The inside of the lungs on a section: parenchyma, patterns, vessels, fissures and airways."""

from dataclasses import dataclass

import numpy as np

from ildfv.phantom.body import BLOOD
from ildfv.phantom.chest import Chest
from ildfv.phantom.fields import Box, bounding_box
from ildfv.phantom.mimics import airspaces, dependent_density, unevenness
from ildfv.phantom.shapes import mix
from ildfv.phantom.smoothing import gaussian, radius
from ildfv.phantom.textures import EMPHYSEMA, GROUND_GLASS, HONEYCOMB, RETICULAR, Pixels, Textures
from ildfv.phantom.tree import Trees

FEATHER = {GROUND_GLASS: 2.6, RETICULAR: 1.3, HONEYCOMB: 0.8, EMPHYSEMA: 1.6}  # mm of transition to healthy lung
SUBSECTION = 1.5  # mm, about the distance over which the finest textures change
SMALL_VESSELS = {GROUND_GLASS: 1.0, RETICULAR: 0.55, HONEYCOMB: 0.3, EMPHYSEMA: 0.45}  # visible fraction


@dataclass(frozen=True)
class Region:
    """The pixels of a part of a plane to which a pattern contributes, and the share of the pattern in each, (n,)."""

    pattern: int
    pixels: Pixels
    share: np.ndarray


class Lungs:
    """The inside of the lungs of one chest."""

    def __init__(self, chest: Chest):
        self.patient = chest.patient
        self.textures = Textures(self.patient)
        self.trees = Trees(chest)
        self.airspaces = airspaces(self.patient, self.trees)

    def hu(self, codes: np.ndarray, pleura: np.ndarray, z: float, box: Box) -> np.ndarray:
        """HU in a part of the plane, (rows, columns), as if all of it were lung.

        codes: label codes of the plane, (512, 512). pleura: depth below the pleura, mm, at half the resolution,
        (256, 256). z: height, mm. box: rows and columns of the part.
        """
        p, grid, trees = self.patient, self.patient.grid, self.trees
        regions = self.regions(codes[box])
        lung = self.slab(regions, pleura, z, box)
        visible = np.ones_like(lung)
        for region in regions:
            visible[region.pixels] *= 1 - region.share * (1 - SMALL_VESSELS[region.pattern])
        lung = mix(lung, visible * trees.small.cut(grid, z, p.thickness, box=box), BLOOD)
        lung = mix(lung, trees.large.cut(grid, z, p.thickness, box=box), BLOOD)
        lung = mix(lung, 0.35 * self.fissure(z, box), BLOOD)
        lung = mix(lung, trees.airways.cut(grid, z, p.thickness, widen=1.0, box=box), 15.0)
        if self.airspaces is not None:
            lung = mix(lung, self.airspaces.cut(grid, z, p.thickness, widen=0.9, box=box), -100.0)
            lung = mix(lung, self.airspaces.cut(grid, z, p.thickness, box=box), -985.0)
        return lung

    def regions(self, codes: np.ndarray) -> list[Region]:
        """The patterns of a part of the plane, with a smooth transition to healthy lung. codes: those of the part."""
        found = []
        inside = codes > 0
        if not inside.any():
            return []
        lung = bounding_box(inside)
        for k in self.patient.patterns:
            here = codes[lung] == k + 2
            if not here.any():
                continue
            width = self.patient.feather * FEATHER[k] / self.patient.pixel
            near = bounding_box(here, margin=radius(width))
            share = gaussian(here[near].astype(np.float32), width)
            rows, columns = np.nonzero((share > 0.02) & inside[lung][near])
            if not len(rows):  # smoothing the border can remove a region of a few pixels
                continue
            pixels = rows + lung[0].start + near[0].start, columns + lung[1].start + near[1].start
            found.append(Region(k, pixels, share[rows, columns]))
        return found

    def slab(self, regions: list[Region], pleura: np.ndarray, z: float, box: Box) -> np.ndarray:
        """HU of lung without vessels in a part of the plane, averaged over the section, (rows, columns).

        The section is the mean of several planes, one per 1.5 mm of its thickness or part thereof. pleura: as in `hu`.
        """
        p = self.patient
        planes = int(np.ceil(p.thickness / SUBSECTION))
        dependent = dependent_density(p, pleura, box) if p.atelectasis else None
        heights = z + p.thickness * ((np.arange(planes) + 0.5) / planes - 0.5)
        lung = self.parenchyma(regions, dependent, float(heights[0]), box)
        if planes == 1:
            return lung
        for height in heights[1:]:
            lung += self.parenchyma(regions, dependent, float(height), box)
        lung /= np.float32(planes)
        return lung

    def parenchyma(self, regions: list[Region], dependent: np.ndarray | None, z: float, box: Box) -> np.ndarray:
        """HU of lung without vessels in a part of a plane, (rows, columns). dependent: HU that atelectasis adds."""
        lung = healthy = self.textures.healthy(z, box)
        if dependent is not None:
            lung = healthy = healthy + dependent * unevenness(self.textures.noise(z, box).lobules)
        if regions:
            lung = healthy.copy()
        for region in regions:
            before = lung[region.pixels]
            texture = self.textures.mixed(region.pattern, region.pixels, z, box, healthy[region.pixels])
            lung[region.pixels] = before + region.share * (texture - before)
        return lung

    def fissure(self, z: float, box: Box) -> np.ndarray:
        """Fraction of each pixel of a part of the plane that the oblique fissures fill, (rows, columns)."""
        p, part = self.patient, self.patient.grid.part(box)
        run = p.half_depth * (-0.75 + 1.5 * z / p.height)
        wavy = part.y - run + 5 * self.textures.noise(z, box).clouds + 0.12 * np.abs(part.x)
        return np.clip(1 - np.abs(wavy) / 0.8, 0, 1)
