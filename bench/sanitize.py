"""Runs every kernel on small problems under compute-sanitizer (see gpu.sh) and compares the results."""

from __future__ import annotations

import re
from importlib.resources import files

import numpy as np
import torch

from ildfv.kernels import reference
from ildfv.kernels.cuda import contributions, em, fisher, launches, moments, windows
from ildfv.kernels.cuda.device import TorchDevice, first_device

DEVICE = "cuda"
LIMIT = first_device().shared_limit
launched: set[str] = set()
launch = TorchDevice.launch


def recorded(self, kernel, *arguments):
    launched.add(kernel)
    launch(self, kernel, *arguments)


def check(found, expected, *labels) -> None:
    error = np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected)
    assert error < 1e-5, (*labels, error)


TorchDevice.launch = recorded  # type: ignore[method-assign]
rng = np.random.default_rng(0)
for b, n, d, k in ((2, 150, 70, 37), (9, 1, 300, 33), (3, 600, 5, 4)):
    weights, means = rng.dirichlet(np.ones(k)), rng.normal(size=(k, d))
    variances = rng.uniform(0.5, 2.0, (k, d))
    mixture = weights, means, variances
    x = rng.normal(size=(b, n, d))
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        maps = torch.from_numpy(x).to(DEVICE, dtype)
        like = maps.double().cpu().numpy()
        counts = np.full(b, float(n))
        real = "float64" if dtype == torch.float64 else "float32"
        for variant in launches.fitting_variants(real, k, d, LIMIT):  # all fit the last shape
            moments.set_variant(variant)
            for given in (maps, maps.transpose(1, 2).contiguous()[..., None], list(maps)):
                found = moments.moments(given, *mixture)
                expected = reference.moments(like, *mixture)
                for a, e in zip(found, expected, strict=True):
                    check(a.cpu(), e, dtype, variant)
                vectors = fisher.vectors(found, counts, weights, weight_part=True)
                check(vectors.cpu(), reference.vectors(expected, counts, weights, weight_part=True), dtype, "vectors")
                share = np.where(rng.random((b, n)) < 0.4, 0.0, rng.random((b, n)))
                weighted = moments.moments(given, *mixture, descriptor_weights=share)
                for a, e in zip(weighted, reference.moments(like, *mixture, descriptor_weights=share), strict=True):
                    check(a.cpu(), e, dtype, variant, "weighted")
                pooled = moments.moments(given, *mixture, pooled=True)
                added = reference.moments(like, *mixture, pooled=True)
                for a, e in zip(pooled, added, strict=True):
                    check(a.cpu(), e, dtype, variant, "pooled")
                step = em.m_step(*pooled[:3], *mixture, inertia=3.0)
                for a, e in zip(step, reference.m_step(*added[:3], *mixture, inertia=3.0), strict=True):
                    check(a, e, "m_step")
for k, dtype in ((5, torch.float32), (5, torch.float64), (1024, torch.float32), (1024, torch.float64)):
    n, d = 70, 6  # the posteriors of 1024 components do not fit in shared memory
    mixture = rng.dirichlet(np.ones(k)), rng.normal(size=(k, d)), rng.uniform(0.5, 2.0, (k, d))
    first, second = rng.normal(size=(2, 2, 3, k, d))
    maps, share = torch.from_numpy(rng.normal(size=(2, n, d))).to(DEVICE, dtype), rng.random((2, n))
    found = contributions.contributions(maps, *mixture, first, second, descriptor_weights=share)
    like = maps.double().cpu().numpy()
    expected = reference.contributions(like, *mixture, first, second, descriptor_weights=share)
    for a, e in zip(found, expected, strict=True):
        check(a.cpu(), e, "contributions", dtype)
levels = ((-1400.0, -950.0), (-160.0, 240.0))
taps = [(rng.integers(0, 90, 56), rng.uniform(0, 0.3, 56).astype(np.float32)) for _ in range(3)]
for kind in (np.int16, np.float32):
    hu = rng.integers(-1500, 500, (2, 90, 90)).astype(kind)
    found = windows.windowed(torch.from_numpy(hu).to(DEVICE), levels, taps, taps)
    grey = [(np.clip(hu, low, high) - low) * (255.0 / (high - low)) for low, high in levels]
    rows = [sum(window[:, index] * share[:, None] for index, share in taps) for window in grey]
    images = np.stack([sum(row[:, :, index] * share for index, share in taps) for row in rows], axis=1)
    assert np.abs(found.cpu().numpy() - images).max() < 0.51

sources = [file for file in (files("ildfv._csrc") / "cuda").iterdir() if file.name.endswith(".cu")]
kernels = {name for file in sources for name in re.findall(r"DO\((\w+)\)", file.read_text(encoding="utf-8"))}
assert launched == kernels, kernels ^ launched
print(f"all {len(kernels)} kernels agree")
