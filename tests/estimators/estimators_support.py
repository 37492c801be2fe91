"""Descriptors on which the estimators are tested."""

import numpy as np


def blobs(n=1500, d=4, k=5, seed=0, spread=2.0):
    random = np.random.default_rng(seed)
    means = random.normal(size=(k, d)) * spread
    return means[random.integers(k, size=n)] + random.normal(size=(n, d))  # (n, d)


def slices(seed=0, n_slices=120, n=500, d=16):
    """Maps like those of a network: each slice has its own mix of textures, and half of the values are 0."""
    random = np.random.default_rng(seed)
    means, mix = random.normal(size=(40, d)), random.normal(size=(40, 6, d)) / 3
    maps = []
    for _ in range(n_slices):
        texture = random.choice(40, p=random.dirichlet(np.full(40, 0.1)), size=n)
        x = means[texture] + np.einsum("ni,nid->nd", random.normal(size=(n, 6)), mix[texture])
        maps.append(np.maximum(x + 0.1 * random.normal(size=(n, d)), 0).astype(np.float32))
    return np.stack(maps)  # (n_slices, n, d)
