"""Patients of difficulty "hard": early and mixed disease, conditions that resemble it, and several CT scanners.

The values below were chosen with bench/bench_phantoms.py. The goal was that simple baselines and Fisher vectors have
AUCs close to those published for clinical scans; bench/NOTES.md states how close they are.
"""

from dataclasses import dataclass, replace

import numpy as np

from ildfv.phantom.patient import HARD, Patient, deal, draw_patient
from ildfv.phantom.textures import EMPHYSEMA, HOLE

# Like patient.DECK, with normal lungs and fewer patients with several patterns. Of 12 patients, 2 are normal, 4 have
# ground glass, 4 reticular, 4 honeycomb and 5 emphysema.
HARD_DECK = [(), (), (0,), (1,), (3,), (3,), (0, 1), (0, 3), (1, 2), (0, 2, 3), (1, 2, 3), (2,)]

# By pattern: contrast from the earliest to the most advanced case, as a share of the contrast in easy phantoms; and
# range of the extent, as a share of the lung volume. With small extents, many diseased slices are below the threshold
# of presence.
CONTRASTS = ((0.70, 1.0), (0.70, 1.0), (0.60, 1.0), (0.30, 0.44))
EXTENTS = ((0.06, 0.45), (0.06, 0.38), (0.05, 0.36), (0.08, 0.60))
HOLES = (0.65, 0.95)  # share of an emphysema region that the holes fill; `Textures` limits it to 0.85


@dataclass(frozen=True)
class Protocol:
    """The acquisition and reconstruction of a chest by one scanner. The manufacturers are invented."""

    manufacturer: str
    model: str
    kernel: str
    blur: float  # mm, as in Patient
    sharp: float
    thickness: tuple[float, ...]  # mm, the section thicknesses in use
    noise: float  # HU in the lung at 1.25 mm, 100 mAs, and a half-width of the body of 140 mm
    offset: float  # HU


PROTOCOLS = (
    Protocol("Phantom Alpha", "A16", "A20 smooth", 0.85, 0.0, (2.5, 5.0), 14, 4),
    Protocol("Phantom Alpha", "A16", "A70 sharp", 0.45, 0.9, (1.0, 1.25), 20, 4),
    Protocol("Phantom Beta", "B64", "B30 smooth", 0.72, 0.1, (1.0, 3.0), 14, -5),
    Protocol("Phantom Beta", "B64", "B60 sharp", 0.42, 0.75, (1.0, 1.5), 18, -5),
    Protocol("Phantom Gamma", "G256", "G standard", 0.60, 0.4, (1.25, 2.5), 17, 0),
    Protocol("Phantom Gamma", "G256", "G lung", 0.40, 1.0, (1.25,), 22, 0),
)


def draw_hard_patient(seed: int, number: int) -> Patient:
    """Patient `number` (from 1) of `seed` with difficulty "hard". It does not depend on the number of patients."""
    patterns, ranks = deal(seed, number, HARD_DECK, "hard deck")
    base = replace(draw_patient(seed, number), difficulty=HARD)
    rng = base.rng("hard")
    contrasts = [low + (high - low) * rank for (low, high), rank in zip(CONTRASTS, ranks, strict=True)]
    extents = np.zeros(len(ranks))
    for k in patterns:
        low, high = EXTENTS[k]
        extents[k] = low * (high / low) ** rng.random()
    # Low inspiration resembles ground glass. It is rare with emphysema, because these lungs are hyperinflated.
    low = rng.random() < (0.05 if EMPHYSEMA in patterns else 0.3)
    inspiration = rng.uniform(30, 100) if low else 0.0
    lung = float(np.clip(rng.normal(-860, 12) + inspiration, -890, -740))
    levels = np.array(base.levels)
    levels[EMPHYSEMA] = lung + (HOLES[0] + (HOLES[1] - HOLES[0]) * rng.random()) * (HOLE - lung)
    protocol = PROTOCOLS[int(rng.integers(len(PROTOCOLS)))]
    thickness = float(rng.choice(protocol.thickness))
    exposure = int(rng.choice([50, 100, 150]))
    width = base.half_width + base.fat
    noise = protocol.noise * np.sqrt(100 / exposure * 1.25 / thickness) * np.exp((width - 140) / 60)
    return replace(
        base,
        lung=lung,
        gradient=base.gradient + 0.5 * inspiration,  # the dependent parts of a less inflated lung are denser
        patterns=patterns,
        extents=tuple(extents),
        levels=tuple(levels),
        contrasts=tuple(contrasts),
        feather=rng.uniform(1, 2),
        fineness=rng.uniform(0.65, 1),
        admixture=rng.uniform(0, 0.3),
        atelectasis=rng.uniform(60, 260) * (rng.random() < 0.5),
        bronchiectasis=rng.uniform(0.1, 0.4) * (rng.random() < 0.5),
        cysts=int(rng.integers(150, 800) * (rng.random() < (0.2 if EMPHYSEMA in patterns else 0.5))),
        motion=rng.uniform(1, 3) * (rng.random() < 0.4),
        manufacturer=protocol.manufacturer,
        model=protocol.model,
        kernel=protocol.kernel,
        thickness=thickness,
        blur=protocol.blur,
        sharp=protocol.sharp,
        noise=float(np.clip(noise, 6, 80)),
        offset=protocol.offset + rng.normal(0, 3),
        exposure=exposure,
    )
