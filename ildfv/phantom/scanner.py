"""What a CT scanner makes of a chest: composition, blur, edge enhancement, noise."""

import numpy as np
from scipy import ndimage

from ildfv.phantom.chest import BLOOD, Chest, mix
from ildfv.phantom.disease import Disease
from ildfv.phantom.fields import coverage
from ildfv.phantom.patient import Patient
from ildfv.phantom.smoothing import gaussian, gaussian_lines
from ildfv.phantom.textures import EMPHYSEMA, GROUND_GLASS, HONEYCOMB, RETICULAR, Textures
from ildfv.phantom.tree import Trees

FEATHER = {GROUND_GLASS: 2.6, RETICULAR: 1.3, HONEYCOMB: 0.8, EMPHYSEMA: 1.6}  # mm over which a pattern fades
SMALL_VESSELS = {GROUND_GLASS: 1.0, RETICULAR: 0.55, HONEYCOMB: 0.3, EMPHYSEMA: 0.45}  # what stays visible of them


class Scanner:
    """Scans one patient: `slice(z)` gives HU and labels of the section at height z, in any order."""

    def __init__(self, patient: Patient):
        self.patient = patient
        self.chest = Chest(patient)
        self.disease = Disease(self.chest)
        self.textures = Textures(patient)
        self.trees = Trees(self.chest)

    def slice(self, z: float) -> tuple[np.ndarray, np.ndarray]:
        """HU (512, 512) int16 in [−1024, 3071] and label codes (512, 512) uint8 at z mm above the lung base."""
        plane = self.chest.plane(z)
        codes = self.disease.codes(plane.lung, plane.pleura, z)
        p, grid = self.patient, self.patient.grid
        lung, visible = self.parenchyma(codes, z)
        lung = mix(lung, visible * self.trees.small.cut(grid, z, p.thickness), BLOOD)
        lung = mix(lung, self.trees.large.cut(grid, z, p.thickness), BLOOD)
        lung = mix(lung, 0.35 * self.fissure(z), BLOOD)
        lung = mix(lung, self.trees.airways.cut(grid, z, p.thickness, widen=1.0), 15.0)
        hu = mix(plane.tissue, coverage(plane.lung, grid.pixel), lung)
        hu = mix(hu, self.trees.airways.cut(grid, z, p.thickness), -990.0)
        return self.reconstructed(hu, z), codes

    def parenchyma(self, codes: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
        """Lung without vessels, HU, and the share of small vessels that stays visible; both (512, 512)."""
        lung = healthy = self.textures.healthy(z)
        visible = np.ones_like(lung)
        inside = codes > 0
        box = ndimage.find_objects(inside.astype(np.uint8))[0] if inside.any() else ...
        for k in self.patient.patterns:
            here = codes == k + 2
            if not here.any():
                continue
            share = np.zeros_like(lung)
            share[box] = gaussian(here[box].astype(np.float32), FEATHER[k] / self.patient.pixel)
            rows, columns = np.nonzero((share > 0.02) & inside)
            s, before = share[rows, columns], lung[rows, columns]
            texture = self.textures.pattern(k, rows, columns, z, healthy[rows, columns])
            if lung is healthy:
                lung = healthy.copy()
            lung[rows, columns] = before + s * (texture - before)
            visible[rows, columns] *= 1 - s * (1 - SMALL_VESSELS[k])
        return lung, visible

    def fissure(self, z: float) -> np.ndarray:
        """Share of each pixel filled by the oblique fissures, which run from high behind to low in front."""
        p = self.patient
        run = p.half_depth * (-0.75 + 1.5 * z / p.height)
        wavy = p.grid.y - run + 5 * self.textures.noise(z)[0] + 0.12 * np.abs(p.grid.x)
        return np.clip(1 - np.abs(wavy) / 0.8, 0, 1)

    def reconstructed(self, hu: np.ndarray, z: float) -> np.ndarray:
        """The slice with the scanner's point spread, kernel and noise, int16."""
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
        if shoulders > 0:  # too few photons along the shoulders: streaks from side to side
            streaks = gaussian_lines(gaussian_lines(white, 14, axis=1), 0.8, axis=0)
            image += np.where(hu < -995, 0.3, 1) * p.noise * shoulders * streaks / streaks.std()
        return np.clip(np.rint(image), -1024, 3071).astype(np.int16)
