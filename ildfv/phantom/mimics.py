"""Findings of the phantoms that resemble a pattern and are labelled healthy."""

import numpy as np

from ildfv.kernels.drawing import doubled
from ildfv.phantom.fields import Box
from ildfv.phantom.patient import Patient
from ildfv.phantom.shapes import coverage
from ildfv.phantom.smoothing import gaussian
from ildfv.phantom.tree import Trees, Tubes

MEDIUM = slice(5, 8)  # levels of the arterial tree whose adjacent bronchi may be dilated
DEPTH = 13.0  # mm below the pleura over which atelectasis fades


def dependent_density(patient: Patient, pleura: np.ndarray, box: Box) -> np.ndarray:
    """HU that dependent atelectasis adds in a part of the plane, (rows, columns), largest at the posterior pleura.

    Atelectasis resembles ground glass.

    Parameters
    ----------
    patient : Patient
    pleura : ndarray of shape (256, 256)
        Depth below the pleura in mm.
    box : tuple of slice
        Rows and columns of the part.
    """
    dependent = coverage(0.35 * patient.half_depth - patient.grid.y[box[0]], 0.25 * patient.half_depth)
    return patient.atelectasis * dependent * np.exp(-doubled(pleura)[box] / DEPTH)


def unevenness(lobules: np.ndarray) -> np.ndarray:
    """A factor for `dependent_density` at each pixel. lobules: the values of a smooth field of variance 1 there."""
    return np.clip(1 + 0.4 * lobules, 0.2, 2)


def dilated_bronchi(patient: Patient, trees: Trees) -> Tubes:
    """The lumina of dilated bronchi, in clusters towards the base. In cross-section they resemble honeycomb cysts."""
    rng = patient.rng("bronchiectasis")
    branches = Tubes.joined([level for tree in trees.arteries for level in tree[MEDIUM]])
    middle = (branches.start + branches.end) / 2
    side = -1 if rng.random() < 0.5 else 1
    preference = -middle[:, 2] / patient.height + 0.25 * (np.sign(middle[:, 0]) == side)
    preference += 0.15 * rng.standard_normal(len(preference))
    chosen = preference >= np.quantile(preference, 1 - patient.bronchiectasis)
    lumen = rng.uniform(1.4, 3.4, len(preference))
    shift = np.stack([lumen + 0.5, lumen, np.zeros_like(lumen)], axis=1)
    return Tubes(branches.start + shift, branches.end + shift, lumen).where(chosen)


def cysts(patient: Patient, trees: Trees) -> Tubes:
    """Isolated air-filled cysts, spread over the lungs. Densitometry counts their area as emphysema."""
    rng = patient.rng("cysts of the lung")
    places = np.concatenate([tree[-1].end for tree in trees.arteries])
    places = places[rng.choice(len(places), size=patient.cysts, replace=False)]
    return Tubes(places, places, rng.uniform(2, 5.5, len(places)))


def airspaces(patient: Patient, trees: Trees) -> Tubes | None:
    """Dilated bronchi and cysts of the patient, or None if there are none."""
    parts = []
    if patient.bronchiectasis:
        parts.append(dilated_bronchi(patient, trees))
    if patient.cysts:
        parts.append(cysts(patient, trees))
    return Tubes.joined(parts) if parts else None


def moved(patient: Patient, hu: np.ndarray, z: float) -> np.ndarray:
    """`hu` (512, 512) with motion of the chest during the rotation in a random third of the slices, else unchanged.

    The double contours resemble reticular lines and bronchial walls.
    """
    rng = patient.rng("motion", round(1000 * z))
    if rng.random() > 1 / 3:
        return hu
    step = max(round(patient.motion / patient.pixel), 1)
    share = rng.uniform(0.25, 0.5)
    return (1 - share) * hu + share * gaussian(np.roll(hu, step, axis=0), 0.8)
