"""Generated patches whose statistics make them as hard to classify as CT textures. No images of patients are used.

Six classes share mean and variance; they differ in correlation length, anisotropy, asymmetry of the histogram and small
structures. Offset, contrast, noise level and resolution vary between subjects as much as between classes, so splits
must be by subject.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

CLASSES = ("coarse", "fine", "holes", "lines", "nodules", "plain")
MEAN, SD = -800.0, 90.0  # HU
OFFSET, GAIN, NOISE, BLUR = 40.0, 0.25, (25.0, 60.0), (0.6, 1.1)  # variation between subjects


def generate(
    n_subjects: int = 12, per_class: int = 2, *, size: int = 61, contrast: float = 0.5, seed: int = 0
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Patches (size, size) in HU, float32, with their classes and subjects.

    contrast: the fraction of a patch's variance that is due to the structure of its class; the structure of the rest is
    the same for all classes. Equal arguments give equal bits. A larger set starts with the subjects of a smaller one.
    """
    images, labels, groups = [], [], []
    for subject in range(n_subjects):
        rng = np.random.default_rng([seed, subject])
        offset, gain = rng.normal(0, OFFSET), np.exp(rng.normal(0, GAIN))
        noise, blur = rng.uniform(*NOISE), rng.uniform(*BLUR)
        for name in CLASSES:
            for _ in range(per_class):
                base = _standard(gaussian_filter(rng.standard_normal((size, size)), 1.6, mode="wrap"))
                own = _standard(_structure(name, size, rng))
                mixed = np.sqrt(1 - contrast) * base + np.sqrt(contrast) * own
                scanned = gaussian_filter(MEAN + offset + gain * SD * mixed, blur, mode="wrap")
                grain = noise * _standard(gaussian_filter(rng.standard_normal((size, size)), 0.6, mode="wrap"))
                images.append(np.round(scanned + grain).astype(np.float32))
                labels.append(name)
                groups.append(f"subject-{subject:02}")
    return images, np.array(labels), np.array(groups)


def _structure(name: str, size: int, rng: np.random.Generator) -> np.ndarray:
    white = rng.standard_normal((size, size))
    if name == "plain":
        return gaussian_filter(white, 1.6, mode="wrap")
    if name in ("coarse", "fine"):
        return gaussian_filter(white, 2.4 if name == "coarse" else 1.1, mode="wrap")
    if name == "lines":  # septa: zero crossings of a smooth field
        field = _standard(gaussian_filter(white, 3.5, mode="wrap"))
        return np.exp(-((field / 0.18) ** 2))
    dots = np.zeros((size, size))
    number = max(3, size * size // 130)
    dots[rng.integers(0, size, number), rng.integers(0, size, number)] = 1
    blobs = gaussian_filter(dots, 1.8, mode="wrap")
    return -blobs if name == "holes" else blobs


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()
