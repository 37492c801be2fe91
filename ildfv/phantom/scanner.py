"""Simulated CT slices of a chest: composition, blur, edge enhancement, noise."""

import numpy as np

from ildfv.phantom.chest import Chest
from ildfv.phantom.disease import Disease
from ildfv.phantom.fields import bounding_box
from ildfv.phantom.lungs import Lungs
from ildfv.phantom.mimics import moved
from ildfv.phantom.patient import Patient
from ildfv.phantom.plane import plane
from ildfv.phantom.shapes import coverage, mix
from ildfv.phantom.smoothing import gaussian, gaussian_lines


class Scanner:
    """A simulated scan of one patient. Slices do not depend on the order in which they are requested."""

    def __init__(self, patient: Patient):
        self.patient = patient
        self.chest = Chest(patient)
        self.disease = Disease(self.chest)
        self.lungs = Lungs(self.chest)

    def slice(self, z: float) -> tuple[np.ndarray, np.ndarray]:
        """HU (512, 512) int16 in [−1024, 3071] and label codes (512, 512) uint8 at z mm above the lung base."""
        p, grid, here = self.patient, self.patient.grid, plane(self.chest, z)
        codes = self.disease.codes(here.lung, here.pleura, z)
        hu = here.tissue.astype(np.float64)
        near_lung = here.lung < grid.pixel
        if near_lung.any():
            box = bounding_box(near_lung)
            lung = self.lungs.hu(codes, here.pleura, z, box)
            hu[box] = mix(hu[box], coverage(here.lung[box], grid.pixel), lung)
        air = self.lungs.trees.airways.cut(grid, z, p.thickness)
        in_air = air > 0
        if in_air.any():
            box = bounding_box(in_air)
            hu[box] = mix(hu[box], air[box], -990.0)
        if p.motion:
            hu = moved(p, hu, z)
        return self.reconstructed(hu, z), codes

    def reconstructed(self, hu: np.ndarray, z: float) -> np.ndarray:
        """The slice `hu` (512, 512) with point spread, reconstruction kernel and noise, int16."""
        p = self.patient
        rng = p.rng("noise", round(1000 * z))
        image = gaussian(hu, p.blur / p.pixel)
        if p.sharp:
            details = gaussian(image, 1.3)
            np.subtract(image, details, out=details)
            details *= 0.7 * p.sharp
            image += details
        white = rng.standard_normal(hu.shape, dtype=np.float32)
        coarse = gaussian(white, 2.2)
        coarse *= 0.4 + 0.5 * p.sharp
        grain = gaussian(white, 0.55 + 0.45 * (1 - p.sharp))
        grain -= coarse
        grain /= grain.std()
        air = hu < -995
        level = np.where(air, np.float32(0.5), np.float32(1))
        level *= p.noise
        grain *= level
        image += grain
        shoulders = np.clip((z / p.height - 0.8) / 0.2, 0, 1)
        if shoulders > 0:  # photon starvation at the shoulders: horizontal streaks
            streaks = gaussian_lines(gaussian_lines(white, 14, axis=1), 0.8, axis=0)
            image += np.where(air, 0.3, 1) * p.noise * shoulders * streaks / streaks.std()
        if p.offset:
            image += p.offset
        np.rint(image, out=image)
        return np.clip(image, -1024, 3071, out=image).astype(np.int16)
