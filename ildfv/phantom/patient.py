"""Anatomy and scanner parameters of a patient, drawn from (seed, number)."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ildfv.patterns import PATTERNS
from ildfv.phantom.fields import Grid, stream

SIZE = 512  # pixels along each side of a slice

# Patterns of the patients 1 to 12, 13 to 24, … (indices into PATTERNS), in random order. Each of these groups thus has
# every pattern five or six times, and the usual combinations: reticular with honeycomb (usual interstitial pneumonia),
# ground glass with reticular (non-specific interstitial pneumonia), emphysema above fibrosis.
DECK = [(0,), (1,), (2,), (3,), (0, 1), (0, 1), (1, 2), (1, 2), (0, 3), (2, 3), (0, 2, 3), (1, 2, 3)]


EASY, HARD = "easy", "hard"


@dataclass(frozen=True)
class Patient:
    """One chest and one scanner setting. Lengths in mm, attenuations in HU.

    Easy patients have the default values. For patients of difficulty "hard", `ildfv.phantom.hard` draws these fields.
    """

    seed: int
    number: int
    female: bool
    half_width: float  # inner half-width of the rib cage
    half_depth: float
    height: float  # distance from the lowest recess of the lungs (z = 0) to the apex
    fat: float  # maximum subcutaneous thickness
    heart: float  # size relative to the average
    dome: float  # height of the right diaphragm above the recess
    lung: float  # mean of healthy parenchyma
    gradient: float  # anteroposterior difference in healthy parenchyma
    patterns: tuple[int, ...]
    extents: tuple[float, ...]  # share of the lung volume, one per pattern, 0 where absent
    levels: tuple[float, ...]  # intended mean attenuation, one per pattern
    centres: tuple[float, ...]  # position along the lung (0 base, 1 apex) where a pattern is most frequent
    pixel: float
    thickness: float
    blur: float  # standard deviation of the in-plane point spread function
    sharp: float  # 0 soft kernel … 1 edge-enhancing kernel
    noise: float  # standard deviation in the lung
    difficulty: str = EASY
    contrasts: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)  # of each pattern to healthy lung, relative to easy patients
    feather: float = 1.0  # width of the transition at the border of a pattern, relative to easy patients
    fineness: float = 1.0  # size of cysts and holes, relative to easy patients
    admixture: float = 0.0  # share of the texture of another pattern in each region (textures.COMPANION)
    atelectasis: float = 0.0  # HU added at the pleura of the dependent lung
    bronchiectasis: float = 0.0  # share of the medium-sized bronchi that are dilated
    cysts: int = 0  # isolated cysts in both lungs
    motion: float = 0.0  # displacement between the two halves of a rotation on the slices that show motion
    offset: float = 0.0  # calibration error of the scanner
    manufacturer: str = "ildfv"
    model: str = "PHANTOM"
    kernel: str = ""  # empty: SHARP or SOFT, by `sharp`
    exposure: int = 0  # mAs; 0: not stated

    @property
    def grid(self) -> Grid:
        return Grid(SIZE, self.pixel)

    def rng(self, *purpose) -> np.random.Generator:
        """The generator for one purpose; see `stream`."""
        return stream(self.seed, self.number, *([] if self.difficulty == EASY else [self.difficulty]), *purpose)

    @property
    def reach(self) -> float:
        """Half the side of the field of view, mm."""
        return SIZE * self.pixel / 2


def deal(seed: int, number: int, deck=DECK, name: str = "deck") -> tuple[tuple[int, ...], np.ndarray]:
    """The patterns of a patient, and for each pattern a rank in (0, 1) among the patients of the group who have it.

    deck: the patterns of a group of len(deck) consecutive patients, assigned to them in random order. Ranks are evenly
    spaced, so that each group has the same range of severity. For a pattern that the patient does not have, the rank is
    among the patients without it. name: purpose of the random generator.
    """
    block, card = divmod(number - 1, len(deck))
    rng = stream(seed, 0, name, block)
    order = rng.permutation(len(deck))
    ranks = np.empty(len(PATTERNS))
    for k in range(len(PATTERNS)):
        holders = [c for c in range(len(deck)) if k in deck[order[c]]]
        others = [c for c in range(len(deck)) if k not in deck[order[c]]]
        strata = [*rng.permutation(len(holders)), *rng.permutation(len(others))]
        place = (holders + others).index(card)
        ranks[k] = (strata[place] + 0.5) / (len(holders) if card in holders else len(others))
    return deck[order[card]], ranks


def draw_patient(seed: int, number: int) -> Patient:
    """Patient `number` (from 1) of `seed`. The result does not depend on the number of patients."""
    patterns, ranks = deal(seed, number)
    rng = stream(seed, number, "patient")
    female = bool(rng.random() < 0.5)
    scale = rng.normal(0.94 if female else 1.03, 0.04)
    half_width, fat = 126 * scale * rng.normal(1, 0.02), float(np.clip(rng.normal(16 if female else 13, 6), 5, 28))
    # Ground glass, reticular and honeycomb share one distribution of means, so that brightness does not separate them.
    levels = np.clip(-640 + 50 * ndtri(ranks), -740, -540)
    levels[3] = -960 + 25 * ranks[3]
    extents = np.zeros(4)
    for pattern in patterns:
        low, high = ((0.22, 0.52), (0.2, 0.44), (0.18, 0.38), (0.22, 0.55))[pattern]
        extents[pattern] = rng.uniform(low, high)
    body_width = half_width + fat + 28
    sharp = rng.uniform(0, 1)
    return Patient(
        seed=seed,
        number=number,
        female=female,
        half_width=half_width,
        half_depth=90 * scale * rng.normal(1, 0.04),
        height=float(np.clip(245 * scale * rng.normal(1, 0.05), 205, 290)),
        fat=fat,
        heart=float(np.clip(rng.normal(1, 0.09), 0.8, 1.25)),
        dome=rng.uniform(48, 72),
        lung=float(np.clip(rng.normal(-868, 16), -900, -835)),
        gradient=rng.uniform(15, 55),
        patterns=patterns,
        extents=tuple(extents),
        levels=tuple(levels),
        centres=(rng.uniform(0.25, 0.65), rng.uniform(0.1, 0.3), rng.uniform(0.08, 0.25), rng.uniform(0.7, 0.9)),
        pixel=round(2 * body_width * rng.uniform(1.0, 1.1) / SIZE, 6),
        thickness=float(rng.choice([1.0, 1.25, 1.5])),
        blur=rng.uniform(0.4, 0.62),
        sharp=sharp,
        noise=8 + 10 * sharp + rng.uniform(0, 10),  # sharp kernels are noisier
    )
