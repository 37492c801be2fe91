"""Slices in memory and a network small enough to train in a second; imported by the tests of this folder."""

import numpy as np
import torch
from torch import nn

from ildfv.train import networks
from ildfv.train.blocks import Dropout

torch.set_num_threads(1)  # two threads are slower for tensors this small
SIDE = 32


@networks.register("tiny")
def tiny(n_outputs):
    """Two convolutions and dropout."""
    body = nn.Sequential()
    body.add_module("conv1", nn.Conv2d(3, 8, 4, stride=4))
    body.add_module("relu1", nn.ReLU(inplace=True))
    body.add_module("conv2", nn.Conv2d(8, 8, 3))
    body.add_module("relu2", nn.ReLU(inplace=True))
    body.add_module("flatten", nn.Flatten())
    body.add_module("drop", Dropout(0.5))
    body.add_module("out", nn.Linear(8 * 6 * 6, n_outputs))
    return body, {"conv1": "relu1", "conv2": "relu2"}


class MemorySlices:
    """A small in-memory `Slices`; `touched` collects the indices of all slices that were read."""

    key = "0123456789abcdef"

    def __init__(self, n=60, seed=0, patients=6):
        rng = np.random.default_rng(seed)
        present = rng.random((n, 4)) < 0.4  # (n, 4)
        self.counts = np.where(present, 9000, 500).astype(np.int32) + rng.integers(0, 400, (n, 4), dtype=np.int32)
        self.patients = np.array([f"patient-{i * patients // n}" for i in range(n)])
        self.lung = None
        self.data = rng.integers(60, 120, (n, 3, SIDE, SIDE), dtype=np.uint8)
        for i, k in zip(*np.nonzero(present), strict=True):  # each pattern brightens its own quarter
            half = SIDE // 2
            y, x = half * (k // 2), half * (k % 2)
            self.data[i, :, y : y + half, x : x + half] += 60
        self.touched = set()

    def __len__(self):
        return len(self.data)

    def images(self, indices):
        self.touched.update(np.asarray(indices).tolist())
        return self.data[np.asarray(indices, dtype=np.int64)]


class Stopping(MemorySlices):
    """Slices whose reader is interrupted at the read after `after`."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def images(self, indices):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().images(indices)


class Drawn(MemorySlices):
    """Slices of which the left half is lung and a quarter shows ground glass (bright) or emphysema (dark)."""

    def __init__(self, n=8):
        super().__init__(n, patients=4)
        rng = np.random.default_rng(1)
        self.data = rng.integers(100, 130, (n, 3, 224, 224), dtype=np.uint8)
        self.maps = np.zeros((n, 224, 224), np.uint8)
        for i in range(n):
            value, code = ((70, 1), (-70, 4))[i % 2]
            self.data[i, :, 112:, :112] += np.uint8(value % 256)
            self.maps[i, 112:, :112] = code

    def label_maps(self, indices):
        return self.maps[indices]

    @staticmethod
    def lungs(indices):
        lung = np.zeros((len(indices), 224, 224), bool)
        lung[:, :, :112] = True
        return lung
