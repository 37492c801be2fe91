"""A study in which only whole scans are labelled, and some scans have no label."""

from dataclasses import replace

import numpy as np
from small import scan
from test_regions import BOTTOM, LEFT, RIGHT, TOP

from ildfv.datasets.scan_labels import ScanLabels
from ildfv.datasets.slice_store import write_scan
from ildfv.patterns import PATTERNS, UNLABELLED
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.density import BINS, COLUMNS
from ildfv.store.parts import writing_parts

SCANS, SLICES, UNKNOWN = 24, 6, 3  # the last three scans have no label
EMPHYSEMA = PATTERNS.index("emphysema")


def weak(number):
    """A chest like that of `test_regions`, in which half of the patterns are shown, each on one to three slices."""
    one, random = scan(number), np.random.default_rng([number, 5])
    present = np.zeros((SLICES, 4), bool)
    for k in np.flatnonzero(random.random(4) < 0.5):
        present[random.choice(SLICES, random.integers(1, 4), replace=False), k] = True
    images = random.normal(100, 5, (SLICES, 3, 224, 224))
    for z, k in zip(*np.nonzero(present), strict=True):
        images[z, :, 112 * (k // 2) :, 112 * (k % 2) :][:, :112, :112] += random.normal(10 * k, 40, (3, 112, 112))
    chest = np.clip(random.normal(230, 3, images.shape), 0, 255)
    chest[..., TOP:BOTTOM, LEFT:RIGHT] = images[..., TOP:BOTTOM, LEFT:RIGHT]
    chest[..., :8, :] = chest[..., -8:, :] = chest[..., :, :8] = chest[..., :, -8:] = 0  # air around the body
    density = random.random((SLICES, len(COLUMNS))).astype(np.float32)
    density[:, COLUMNS.index("laa-950")] = 0.02 + 0.2 * present[:, EMPHYSEMA] + random.normal(0, 0.005, SLICES)
    density[:, -BINS:] /= density[:, -BINS:].sum(axis=1, keepdims=True)
    density[0] = np.nan
    return replace(
        one,
        images=np.clip(chest, 0, 255).astype(np.uint8),
        labels=np.zeros_like(one.labels),
        counts=np.full((SLICES, 4), UNLABELLED),
        lung=np.where(np.arange(SLICES) == 0, 0, 30000 + 5000 * np.arange(SLICES)),
        labelled=False,
        density=density,
    ), present


def make(root, unlabelled=(), scans=SCANS):
    """(workspace labelled by scan, truth of each slice (N, 4)). unlabelled: indices of patterns without labels."""
    workspace = Workspace.open_or_create(root, version="test", salt="0123456789abcdef", folds=4)
    truth, labels = {}, ScanLabels()
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(scans):
            one, truth[one.series] = (found := weak(number))[0], found[1]
            parts.add(write_scan(workspace.slices_dir, one))
            if number < scans - UNKNOWN:
                labels.presence[one.series] = truth[one.series].any(axis=0).astype(int).tolist()
                for k in unlabelled:
                    labels.presence[one.series][k] = -1
    labels.write(workspace.scan_labels_file)
    write_folds(workspace)
    return workspace, np.concatenate([truth[name] for name in workspace.slices().names])
