"""Simulated CT slices of a chest: composition, blur, edge enhancement, noise."""

from typing import cast

import numpy as np
from scipy import ndimage

from ildfv.phantom.chest import BLOOD, Chest, mix
from ildfv.phantom.disease import Disease
from ildfv.phantom.fields import Box, bounds, coverage
from ildfv.phantom.mimics import airspaces, atelectasis, moved
from ildfv.phantom.patient import Patient
from ildfv.phantom.smoothing import gaussian, gaussian_lines
from ildfv.phantom.textures import EMPHYSEMA, GROUND_GLASS, HONEYCOMB, RETICULAR, Textures
from ildfv.phantom.tree import Trees

FEATHER = {GROUND_GLASS: 2.6, RETICULAR: 1.3, HONEYCOMB: 0.8, EMPHYSEMA: 1.6}  # mm of transition to healthy lung
SUBSECTION = 1.5  # mm, about the distance over which the finest textures change
SMALL_VESSELS = {GROUND_GLASS: 1.0, RETICULAR: 0.55, HONEYCOMB: 0.3, EMPHYSEMA: 0.45}  # visible fraction


class Scanner:
    """A simulated scan of one patient. Slices do not depend on the order in which they are requested."""

    def __init__(self, patient: Patient):
        self.patient = patient
        self.chest = Chest(patient)
        self.disease = Disease(self.chest)
        self.textures = Textures(patient)
        self.trees = Trees(self.chest)
        self.airspaces = airspaces(patient, self.trees)

    def slice(self, z: float) -> tuple[np.ndarray, np.ndarray]:
        """HU (512, 512) int16 in [−1024, 3071] and label codes (512, 512) uint8 at z mm above the lung base."""
        plane = self.chest.plane(z)
        codes = self.disease.codes(plane.lung, plane.pleura, z)
        p, grid = self.patient, self.patient.grid
        share = coverage(plane.lung, grid.pixel)
        hu = plane.tissue.astype(np.result_type(plane.tissue, share))
        if share.any():
            low, high = bounds(share > 0)
            box = np.s_[low[0] : high[0], low[1] : high[1]]
            hu[box] = mix(hu[box], share[box], self.lung(codes, plane.pleura, z, box))
        hu = mix(hu, self.trees.airways.cut(grid, z, p.thickness), -990.0)
        if p.motion:
            hu = moved(p, hu, z)
        return self.reconstructed(hu, z), codes

    def lung(self, codes: np.ndarray, pleura: np.ndarray, z: float, box: Box) -> np.ndarray:
        """The inside of the lungs, HU, in a part of the plane."""
        p, grid, trees = self.patient, self.patient.grid, self.trees
        lung, visible = self.slab(codes, pleura, z, box)
        lung = mix(lung, visible * trees.small.cut(grid, z, p.thickness, box=box), BLOOD)
        lung = mix(lung, trees.large.cut(grid, z, p.thickness, box=box), BLOOD)
        lung = mix(lung, 0.35 * self.fissure(z, box), BLOOD)
        lung = mix(lung, trees.airways.cut(grid, z, p.thickness, widen=1.0, box=box), 15.0)
        if self.airspaces is not None:
            lung = mix(lung, self.airspaces.cut(grid, z, p.thickness, widen=0.9, box=box), -100.0)
            lung = mix(lung, self.airspaces.cut(grid, z, p.thickness, box=box), -985.0)
        return lung

    def slab(self, codes: np.ndarray, pleura: np.ndarray, z: float, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Lung without vessels averaged over the section, HU, and the visible fraction of small vessels.

        Both are for a part of the plane. The section is the mean of several planes, at least one per 1.5 mm of its
        thickness.
        """
        thickness = self.patient.thickness
        planes = int(np.ceil(thickness / SUBSECTION))
        heights = z + thickness * ((np.arange(planes) + 0.5) / planes - 0.5)
        parts = [self.parenchyma(codes[box], pleura, float(height), box) for height in heights]
        if planes == 1:
            return parts[0]
        return cast(np.ndarray, sum(lung for lung, _ in parts)) / np.float32(planes), parts[0][1]

    def parenchyma(self, codes: np.ndarray, pleura: np.ndarray, z: float, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Lung without vessels in a part of a plane, HU, and the visible fraction of small vessels.

        codes: of the part, (rows, columns) as both results. pleura: (256, 256).
        """
        lung = healthy = self.textures.healthy(z, box)
        if self.patient.atelectasis:
            lung = healthy = healthy + atelectasis(self.patient, pleura, self.textures.noise(z, box)[1], box)
        visible = np.ones_like(lung)
        inside = codes > 0
        region = ndimage.find_objects(inside.astype(np.uint8))[0] if inside.any() else ...
        for k in self.patient.patterns:
            here = codes == k + 2
            if not here.any():
                continue
            share = np.zeros_like(lung)
            width = self.patient.feather * FEATHER[k] / self.patient.pixel
            share[region] = gaussian(here[region].astype(np.float32), width)
            rows, columns = np.nonzero((share > 0.02) & inside)
            pixels = rows, columns
            if not len(rows):  # smoothing the border can remove a region of a few pixels
                continue
            s, before = share[pixels], lung[pixels]
            texture = self.textures.mixed(k, pixels, z, box, healthy[pixels])
            if lung is healthy:
                lung = healthy.copy()
            lung[pixels] = before + s * (texture - before)
            visible[pixels] *= 1 - s * (1 - SMALL_VESSELS[k])
        return lung, visible

    def fissure(self, z: float, box: Box) -> np.ndarray:
        """Fraction of each pixel of a part of the plane in the oblique fissures, which descend anteriorly."""
        p, part = self.patient, self.patient.grid.part(box)
        run = p.half_depth * (-0.75 + 1.5 * z / p.height)
        wavy = part.y - run + 5 * self.textures.noise(z, box)[0] + 0.12 * np.abs(part.x)
        return np.clip(1 - np.abs(wavy) / 0.8, 0, 1)

    def reconstructed(self, hu: np.ndarray, z: float) -> np.ndarray:
        """The slice with point spread, reconstruction kernel and noise, int16."""
        p = self.patient
        rng = p.rng("noise", round(1000 * z))
        blur = p.blur / p.pixel
        image = gaussian(hu, blur)
        image += 0.7 * p.sharp * (image - gaussian(image, 1.3))
        white = rng.standard_normal(hu.shape, dtype=np.float32)
        grain = gaussian(white, 0.55 + 0.45 * (1 - p.sharp)) - (0.4 + 0.5 * p.sharp) * gaussian(white, 2.2)
        grain /= grain.std()
        image += p.noise * np.where(hu < -995, np.float32(0.5), np.float32(1)) * grain
        shoulders = np.clip((z / p.height - 0.8) / 0.2, 0, 1)
        if shoulders > 0:  # photon starvation at the shoulders: horizontal streaks
            streaks = gaussian_lines(gaussian_lines(white, 14, axis=1), 0.8, axis=0)
            image += np.where(hu < -995, 0.3, 1) * p.noise * shoulders * streaks / streaks.std()
        if p.offset:
            image += p.offset
        return np.clip(np.rint(image), -1024, 3071).astype(np.int16)
