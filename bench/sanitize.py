"""Each kernel once on small problems, for compute-sanitizer: see gpu.sh."""

from __future__ import annotations

import numpy as np
import torch

from ildfv.kernels import cuda, launches, reference

rng = np.random.default_rng(0)
for b, n, d, k in ((2, 150, 70, 37), (9, 1, 300, 33), (3, 600, 5, 4)):
    weights, means = rng.dirichlet(np.ones(k)), rng.normal(size=(k, d))
    variances = rng.uniform(0.5, 2.0, (k, d))
    x = rng.normal(size=(b, n, d))
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        maps = torch.from_numpy(x).to("cuda", dtype)
        like = maps.double().cpu().numpy()
        for variant in launches.VARIANTS:
            cuda.set_variant(variant)
            for given in (maps, maps.transpose(1, 2).contiguous()[..., None], list(maps)):
                for pooled in (False, True):
                    found = cuda.moments(given, weights, means, variances, pooled=pooled)
                    expected = reference.moments(like, weights, means, variances, pooled=pooled)
                    for a, e in zip(found, expected, strict=True):
                        error = np.linalg.norm(a.cpu().numpy() - e) / np.linalg.norm(e)
                        assert error < 1e-5, (dtype, variant, pooled, error)
print("all kernels agree")
