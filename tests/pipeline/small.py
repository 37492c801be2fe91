"""A small workspace and a small network, imported by the tests of this folder and their child processes."""

from pathlib import Path

import numpy as np
from torch import nn

from ildfv.datasets.slice_store import ScanSlices, write_scan
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.store.parts import writing_parts
from ildfv.train import networks

PATIENTS, SLICES = 8, 6
QUICK = 0.1  # tolerance of mixtures: EM on the sample ends after few passes


@networks.register("small")
def small(n_outputs):
    """A coarse convolution and two fully connected layers: 28×28 descriptors of 8 dimensions, and one of 12."""
    body = nn.Sequential()
    body.add_module("conv1", nn.Conv2d(3, 8, 8, stride=8))
    body.add_module("relu1", nn.ReLU())
    body.add_module("pool", nn.AvgPool2d(9))
    body.add_module("flatten", nn.Flatten())
    body.add_module("fc6", nn.Linear(8 * 9, 12))
    body.add_module("out", nn.Linear(12, n_outputs))
    return body, {"conv1": "relu1", "fc6": "fc6"}


@networks.register("small-normed")
def small_normed(n_outputs):
    """The same with batch normalisation."""
    body = small(n_outputs)[0]
    body.conv1 = nn.Sequential(body.conv1, nn.BatchNorm2d(8))
    return body, {"conv1": "relu1", "fc6": "fc6"}


def scan(number: int) -> ScanSlices:
    """Noise, with a rougher texture in one quarter of the slice for each pattern that is present."""
    random = np.random.default_rng(number)
    present = random.random((SLICES, 4)) < 0.5
    images = random.normal(100, 5, (SLICES, 3, 224, 224))
    labels = np.zeros((SLICES, 224, 224), np.uint8)
    for z, k in zip(*np.nonzero(present), strict=True):
        rows, columns = slice(112 * (k // 2), 112 * (k // 2) + 112), slice(112 * (k % 2), 112 * (k % 2) + 112)
        images[z, :, rows, columns] += random.normal(10 * k, 40, (3, 112, 112))
        labels[z, rows, columns] = k + 1
    return ScanSlices(
        images=np.clip(images, 0, 255).astype(np.uint8),
        labels=labels,
        counts=np.where(present, 9000, 100),
        lung=np.full(SLICES, 60000),
        positions=np.arange(SLICES) * 10.0,
        patient=f"{number:016x}",
        series=f"{number + 100:016x}",
        labelled=True,
        pixel_area=0.5,
        phantom=True,
    )


def make_workspace(root: Path, *, model: bool = True) -> Workspace:
    """Eight patients of six slices in four folds; the network of fold 0 has random weights."""
    workspace = Workspace.open_or_create(root, version="test", salt="0123456789abcdef", folds=4)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(PATIENTS):
            parts.add(write_scan(workspace.slices_dir, scan(number)))
    write_folds(workspace)
    if model:
        network = networks.build("small", seed=1)
        networks.save(workspace.model_dir("small", 0), network, {"kind": "network"})
    return workspace
