"""Data for the kernel benchmarks: network activations on phantom slices, and samples of overlapping mixtures."""

from __future__ import annotations

import functools

import numpy as np

from ildfv.kernels import cpu

# name: layer, descriptors per slice n, dimensions d, components k, slices
SHAPES = {
    "conv1": ("conv1", 2916, 64, 32, 8),
    "conv2": ("conv2", 729, 256, 32, 8),
    "conv5": ("conv5", 169, 256, 32, 32),
    "conv1-k256": ("conv1", 2916, 64, 256, 4),
    "fc6": ("fc6", 1, 4096, 32, 256),
}


@functools.cache
def slices(patients: int = 8, each: int = 8) -> np.ndarray:
    """Windowed phantom slices, uint8 (patients · each, 3, 224, 224)."""
    from ildfv.phantom.dicom_series import heights
    from ildfv.phantom.patient import draw_patient
    from ildfv.phantom.scanner import Scanner
    from ildfv.scans.windows import windowed

    images = []
    for number in range(1, patients + 1):
        patient = draw_patient(2017, number)
        scanner = Scanner(patient)
        images += [windowed(scanner.slice(float(z))[0][None])[0] for z in heights(patient, each)[0]]
    return np.stack(images)


@functools.cache
def activations(layer: str, count: int) -> np.ndarray:
    """Activation maps of phantom slices, float32 (count, n, d), from CNN-F with random (He) weights, seed 0."""
    import torch

    from ildfv.train.activations import Activations
    from ildfv.train.networks import build

    network = build("cnnf", seed=0)
    images = slices()
    network.normalise(images.mean(axis=(0, 2, 3)), images.std(axis=(0, 2, 3)))
    images = images[np.linspace(0, len(images) - 1, count).astype(int)]
    maps = torch.cat([Activations(network, layer)(images[i : i + 8]) for i in range(0, count, 8)])
    return np.ascontiguousarray(maps.flatten(2).transpose(1, 2).numpy())


def fitted(x: np.ndarray, k: int, *, passes: int = 10, seed: int = 0):
    """Weights, means and variances from a few EM passes over descriptors (n, d), with random descriptors as start."""
    rng = np.random.default_rng(seed)
    x = x[rng.permutation(len(x))[:40_000]]
    floor = 1e-4 * x.var(axis=0) + 1e-12
    weights, means = np.full(k, 1 / k), x[rng.choice(len(x), size=k, replace=len(x) < k)].astype(np.float64)
    variances = np.tile(x.var(axis=0) + floor, (k, 1)).astype(np.float64)
    for _ in range(passes):
        s0, s1, s2, _ = cpu.moments([x], weights, means, variances, pooled=True)
        s0 = np.maximum(s0, 1e-3)[:, None]
        shift = s1 / s0
        means, variances = means + np.sqrt(variances) * shift, np.maximum(variances * (s2 / s0 - shift**2), floor)
        weights = s0[:, 0] / s0.sum()
    return weights, means, variances


@functools.cache
def peaky(name: str):
    """Maps (b, n, d) of a layer's activations and a mixture fitted to them: peaky posteriors."""
    layer, n, d, k, count = SHAPES[name]
    maps = activations(layer, max(count, 32 if n > 1 else 256))
    assert maps.shape[1:] == (n, d), maps.shape
    return np.ascontiguousarray(maps[:: len(maps) // count][:count]), fitted(maps.reshape(-1, d), k)


@functools.cache
def soft(name: str):
    """Maps (b, n, d) sampled from a mixture whose components overlap: soft posteriors."""
    _, n, d, k, count = SHAPES[name]
    rng = np.random.default_rng(0)
    means = 0.3 * rng.normal(size=(k, d)) / np.sqrt(d)
    variances = np.exp(0.3 * rng.normal(size=(k, d)) / np.sqrt(d))
    label = rng.integers(0, k, size=(count, n))
    maps = means[label] + rng.normal(size=(count, n, d)) * np.sqrt(variances[label])
    return maps.astype(np.float32), (np.full(k, 1 / k), means, variances)


def isotropic_peaky(name: str):
    """Maps (b, n, d) drawn from a mixture of 32 or 256 components of random mean and unit variance, and that mixture.

    Posteriors are peaky. Unlike in activations, no dimension is more informative than another.
    """
    means, labels, noise = _isotropic(name)
    return (means[labels] + noise).astype(np.float32), _unit(means)


def isotropic_soft(name: str):
    """Standard normal maps (b, n, d), and a mixture whose means are near 0."""
    means, _, noise = _isotropic(name)
    return noise.astype(np.float32), _unit(0.05 * means)


def _isotropic(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (k, d), labels (b, n) and noise (b, n, d)."""
    _, n, d, k, count = SHAPES[name]
    rng = np.random.default_rng(0)
    return rng.normal(size=(k, d)), rng.integers(k, size=(count, n)), rng.normal(size=(count, n, d))


def _unit(means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.full(len(means), 1 / len(means)), means, np.ones_like(means)
