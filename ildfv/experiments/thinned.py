"""Activation maps with a random fraction of their descriptors."""

from __future__ import annotations

import zlib

import torch

from ildfv.arrays import to_numpy


class Thinned:
    """Activations with a random fraction of each map's descriptors, as maps (b, d, m, 1).

    The choice depends only on the content of the slice and on the seed, so it is the same in every pass and after a
    restart.
    """

    def __init__(self, activations, share: float, seed: int):
        self.activations, self.d, self.n = activations, activations.d, max(1, round(share * activations.n))
        self.seed, self.device = seed, activations.device

    def __call__(self, images) -> torch.Tensor:
        maps = self.activations(images).flatten(2)  # (b, d, n)
        draws = [torch.Generator().manual_seed(self.seed + zlib.crc32(image.tobytes())) for image in to_numpy(images)]
        kept = torch.stack([torch.randperm(maps.shape[2], generator=draw)[: self.n] for draw in draws])  # (b, m)
        kept = kept.to(maps.device)[:, None].expand(-1, maps.shape[1], -1)
        return maps.gather(2, kept)[..., None]
