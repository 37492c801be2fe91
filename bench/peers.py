"""The alternatives, each as `prepare(mixture) -> run(maps)`, with the best settings found (see NOTES.md).

The GEMM formulations expand t², so that the scores are two matrix products, with x and with x², and the moments are two
more. They compute the same sums as our kernel in float32, without protection against cancellation. The libraries
compute the Fisher vector of a single slice.
"""

from __future__ import annotations

import numpy as np

from ildfv.kernels import cpu


def ours(mixture):
    """`ildfv.kernels.cpu.moments`."""
    return lambda maps: cpu.moments(maps, *mixture)


def _expanded(mixture):
    """The coefficients A, B (d, k) and c (k,), float32, of log w N(x) = c + x·B + x²·A."""
    weights, means, variances = mixture
    c = np.log(weights) - 0.5 * (np.log(2 * np.pi * variances) + means**2 / variances).sum(axis=1)
    return (a.astype(np.float32) for a in (-0.5 / variances.T, (means / variances).T, c))


def numpy_gemm(mixture, chunk: int = 512):
    """NumPy's matrix products, in place: four calls of sgemm for each chunk of descriptors."""
    a, b, c = (np.ascontiguousarray(m) for m in _expanded(mixture))
    means, variances = (m.astype(np.float32) for m in mixture[1:])
    sd = np.sqrt(variances)

    def run(maps):
        out = []
        for x in maps:
            s0, s1, s2, log_likelihood = 0, 0, 0, 0
            for i in range(0, len(x), chunk):
                y = x[i : i + chunk]
                y2 = y * y
                s = y @ b
                s += y2 @ a
                s += c
                top = s.max(axis=1, keepdims=True)
                s -= top
                np.exp(s, out=s)
                total = s.sum(axis=1, keepdims=True)
                s /= total
                log_likelihood += float(top.sum() + np.log(total).sum())
                s[s < 1e-6] = 0
                s0 = s0 + s.sum(axis=0)
                s1 = s1 + s.T @ y
                s2 = s2 + s.T @ y2
            s0 = s0[:, None]
            out.append((s0, (s1 - s0 * means) / sd, (s2 - 2 * means * s1 + s0 * means**2) / variances, log_likelihood))
        return out

    return run


def torch_gemm(mixture, slices: int = 1):
    """torch's batched matrix products of `slices` maps at a time."""
    import torch

    a, b, c = (torch.from_numpy(np.ascontiguousarray(m)) for m in _expanded(mixture))
    means, variances = (torch.from_numpy(m.astype(np.float32)) for m in mixture[1:])
    torch.set_flush_denormal(True)  # otherwise tiny posteriors make torch ten times slower
    sd = variances.sqrt()

    @torch.inference_mode()
    def run(maps):
        out = []
        for x in torch.from_numpy(maps).split(slices):
            n, d = x.shape[1:]
            x2 = x * x
            s = torch.addmm(c, x.view(-1, d), b).addmm_(x2.view(-1, d), a)
            log_likelihood = torch.logsumexp(s, 1, keepdim=True)
            s = s.sub_(log_likelihood).exp_()
            s = torch.nn.functional.threshold_(s, 1e-6, 0.0).view(len(x), n, -1)
            s0 = s.sum(1)[..., None]
            st = s.transpose(1, 2)
            s1, s2 = st @ x, st @ x2
            out.append((s0, (s1 - s0 * means) / sd, (s2 - 2 * means * s1 + s0 * means**2) / variances, log_likelihood))
        return out

    return run


def vlfeat(mixture):
    """VLFeat 0.9.21's `vl_fisher` through cyvlfeat, one slice at a time. Threads share the components (OpenMP)."""
    from cyvlfeat.fisher import fisher

    weights, means, variances = mixture
    weights, means, variances = (np.ascontiguousarray(m, dtype=np.float32) for m in (weights, means, variances))

    def run(maps):
        return [fisher(x, means, variances, weights) for x in maps]

    return run


def skimage(mixture):
    """scikit-image's `fisher_vector`, one slice at a time."""
    from skimage.feature import fisher_vector
    from sklearn.mixture import GaussianMixture

    weights, means, variances = (m.astype(np.float32) for m in mixture)
    gmm = GaussianMixture(len(weights), covariance_type="diag")
    gmm.weights_, gmm.means_, gmm.covariances_ = weights, means, variances
    gmm.precisions_cholesky_ = 1 / np.sqrt(variances)

    def run(maps):
        return [fisher_vector(x, gmm) for x in maps]

    return run


PEERS = {
    "numpy chunk 256": lambda m: numpy_gemm(m, 256),
    "numpy chunk 512": lambda m: numpy_gemm(m, 512),
    "numpy chunk 1024": lambda m: numpy_gemm(m, 1024),
    "torch 1 slice": lambda m: torch_gemm(m, 1),
    "torch 4 slices": lambda m: torch_gemm(m, 4),
    "torch 8 slices": lambda m: torch_gemm(m, 8),
    "vlfeat": vlfeat,
    "scikit-image": skimage,
}

NEEDS = {"vlfeat": "cyvlfeat", "scikit-image": "skimage"}
