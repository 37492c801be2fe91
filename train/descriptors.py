"""Descriptors that need no trained network: Gaussian derivatives and whitened patches of the normal window.

They replace a layer's activations. Both are computed from convolutions, with a stride of 2, of the normal window, whose
grey level is linear in HU (6.3 HU per level).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ildfv.errors import check
from ildfv.estimators.derivatives import derivatives
from ildfv.scans.windows import NORMAL, WINDOWS
from ildfv.store.models import has_model, load_model, save_model
from ildfv.train.layer_names import FILTERS, PATCHES
from ildfv.train.networks import SIZE
from ildfv.train.receptive import ReceptiveFields

STRIDE = 2
SIGMAS = (0.7, 1.4, 2.8)  # pixels of prepared slices: 1 to 4 mm with a field of view of 350 mm
INVARIANTS = 4  # per scale: smoothed value, gradient magnitude, two Hessian eigenvalues
SIDE = 5  # pixels of a patch on each of its two scales
WHITENED = 24  # dimensions of a patch after whitening; before it, a patch has 50
SAMPLE = 50_000  # training patches that the whitening is fitted on
MIN_VARIANCE = 1e-3  # as a fraction of the largest; smaller variances are quantisation noise and are raised to it


class Descriptors(ABC):
    """Callable like `Activations`: slices → maps (b, d, 112, 112), float32.

    Slices are (b, 3, 224, 224), uint8 or float, or, in HU, (b, 1, 224, 224), int16. fields: the receptive fields of the
    locations. `prepare` must be called once before the maps are used.
    """

    layer: str
    d: int
    side = SIZE // STRIDE
    n = side * side

    def __init__(self, kernel: int, device: str = "cpu"):
        self.device = torch.device(device)
        self._kernel = kernel  # pixels along a side
        self._before = (kernel - STRIDE) // 2  # pixels of padding before the first pixel
        starts = np.arange(self.side)[:, None] * STRIDE - self._before
        columns = np.arange(SIZE)
        seen = (columns >= starts) & (columns < starts + kernel)  # (112, 224)
        self.fields = ReceptiveFields(seen, seen)

    @abstractmethod
    def prepare(self, folder: Path, sample, seed: int) -> None:
        """Fits parameters that depend on training data, or reads them from `folder`. sample: size → (m, d)."""

    @abstractmethod
    def use(self, tensors: dict[str, np.ndarray]) -> None:
        """Sets the parameters that `prepare` fitted and saved."""

    def bytes_per_slice(self) -> int:
        """Upper estimate of the GPU memory per slice, in bytes, while its maps are computed."""
        return 4 * (4 * SIZE * SIZE + 6 * self.d * self.n)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor | np.ndarray) -> torch.Tensor:
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(images)
        x = _normal(images, self.device)
        after = self._kernel - STRIDE - self._before
        padded = F.pad(x, (self._before, after, self._before, after), mode="replicate")
        return self._maps(padded).contiguous(memory_format=torch.channels_last)

    @abstractmethod
    def _maps(self, x: torch.Tensor) -> torch.Tensor:
        """The maps of padded normal windows (b, 1, h, w) in [0, 1]."""


class Filters(Descriptors):
    """At each of three scales: the Gaussian-smoothed value, the gradient magnitude and the eigenvalues of the Hessian.

    First and second derivatives are multiplied by σ and σ², respectively, so that scales are comparable. All
    descriptors are invariant to rotation, and all except the smoothed value are invariant to a shift in HU. Source:
    Lindeberg, Int. J. Computer Vision 30 (1998); for lungs, Sluimer et al., Medical Physics 30 (2003).
    """

    layer = FILTERS
    d = INVARIANTS * len(SIGMAS)

    def __init__(self, device: str = "cpu"):
        radius = math.ceil(3 * max(SIGMAS))
        super().__init__(2 * radius + 2, device)
        kernels = [derivatives(sigma, 2 * radius + 2) for sigma in SIGMAS]  # (6, k, k) each
        self._kernels = torch.from_numpy(np.concatenate(kernels)[:, None]).float().to(self.device)

    def prepare(self, folder: Path, sample, seed: int) -> None:
        """Does nothing: the filters are fixed."""

    def use(self, tensors: dict[str, np.ndarray]) -> None:
        """Does nothing."""

    def _maps(self, x: torch.Tensor) -> torch.Tensor:
        found = F.conv2d(x, self._kernels, stride=STRIDE)
        value, dx, dy, dxx, dxy, dyy = found.unflatten(1, (len(SIGMAS), 6)).unbind(2)  # (b, scales, h, w) each
        middle, spread = (dxx + dyy) / 2, torch.hypot((dxx - dyy) / 2, dxy)
        return torch.cat([value, torch.hypot(dx, dy), middle - spread, middle + spread], dim=1)


class Patches(Descriptors):
    """Patches of 5×5 pixels, and of 5×5 means of 2×2 pixels around them, whitened by PCA on training patches."""

    layer = PATCHES
    d = WHITENED

    def __init__(self, device: str = "cpu"):
        super().__init__(2 * SIDE, device)
        self._raw = torch.from_numpy(_pixels()).float().to(self.device)  # (50, 1, 10, 10)
        self._kernels, self._bias = self._raw, torch.zeros(len(self._raw), device=self.device)
        self.d = len(self._raw)

    def prepare(self, folder: Path, sample, seed: int) -> None:
        if not has_model(folder):
            x = np.asarray(sample(SAMPLE), np.float64)  # (m, 50)
            check(len(x) > 1, f"there must be at least 2 training patches, got {len(x)}")
            values, vectors = np.linalg.eigh(np.cov(x.T))
            values, vectors = values[::-1][:WHITENED], vectors[:, ::-1][:, :WHITENED]
            signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(WHITENED)])
            scale = np.sqrt(np.maximum(values, MIN_VARIANCE * values[0]) + np.finfo(np.float32).tiny)
            save_model(folder, {"mean": x.mean(axis=0), "whitening": (vectors * signs / scale).T}, {"patches": len(x)})
        self.use(load_model(folder)[0])

    def use(self, tensors: dict[str, np.ndarray]) -> None:
        whitening = torch.from_numpy(np.array(tensors["whitening"])).to(self.device)  # (24, 50), float64
        self._bias = -(whitening @ torch.from_numpy(np.array(tensors["mean"])).to(self.device)).float()
        self._kernels = torch.einsum("do,oikl->dikl", whitening, self._raw.double()).float()
        self.d = WHITENED

    def _maps(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self._kernels, self._bias, stride=STRIDE)


KINDS: dict[str, Callable[[str], Descriptors]] = {FILTERS: Filters, PATCHES: Patches}  # layer → (device → descriptors)


def _normal(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The normal window in [0, 1], (b, 1, 224, 224), from windows (b, 3, 224, 224) or HU (b, 1, 224, 224), int16."""
    if images.dtype == torch.int16:
        low, high = WINDOWS[NORMAL]
        return ((images.to(device, non_blocking=True).float() - low) / (high - low)).clamp(0, 1)
    return images[:, NORMAL : NORMAL + 1].to(device, non_blocking=True).float() / 255


def _pixels() -> np.ndarray:
    """Kernels of 10×10 that read the 25 pixels at the centre and the 25 means of 2×2 pixels, (50, 1, 10, 10)."""
    width = 2 * SIDE
    kernels = np.zeros((2 * SIDE * SIDE, width, width))
    first = (width - SIDE) // 2
    for i in range(SIDE * SIDE):
        row, column = divmod(i, SIDE)
        kernels[i, first + row, first + column] = 1
        kernels[SIDE * SIDE + i, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 0.25
    return kernels[:, None]
