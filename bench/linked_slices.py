"""Workspaces of any number of slices in little disk space: scans whose images are links to a few files.

SOURCES files of phantom slices are written once. Each scan of a workspace is a separate part, and its images are an
HDF5 link to one of these files. Except for the links, the workspace is like one of `ildfv prepare`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np

SOURCES, EACH = 16, 100  # files of distinct slices, and slices per scan
SCANS = 4  # per patient
FOLDS = 5


def write_sources(folder: Path) -> None:
    """Writes the files of EACH phantom slices, shifted by a different number of pixels in each, unless all exist."""
    from bench.data import slices

    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    images, random = slices(8, 16), np.random.default_rng(0)
    folder.mkdir()
    for number in range(SOURCES):
        moved = np.roll(images[random.permutation(len(images))[:EACH]], random.integers(0, 224, 2), axis=(2, 3))
        with h5py.File(folder / f"{number}.h5", "x", libver=("v110", "v110")) as file:
            file.create_dataset("images", data=moved, chunks=(1, 3, 224, 224), fletcher32=True)
    (folder / "complete").touch()


def write_workspace(root: Path, sources: Path, n: int, network: str, *, scans: int = SCANS) -> None:
    """Creates a workspace of n slices in scans of EACH slices, with random patterns, unless it exists.

    The network is written last and marks a complete workspace.
    """
    from ildfv.pipeline.split import write_folds
    from ildfv.pipeline.workspace import Workspace
    from ildfv.store.atomic import sha256
    from ildfv.store.parts import Row, writing_parts
    from ildfv.train import networks

    register()
    if list(root.glob("models/*/*/model.json")):
        return
    shutil.rmtree(root, ignore_errors=True)
    random = np.random.default_rng(1)
    workspace = Workspace.open_or_create(root, version="bench", salt="0123456789abcdef", folds=FOLDS)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for scan in range(n // EACH):
            path = parts.path(f"{scan:016x}")
            with h5py.File(path, "x", libver=("v110", "v110")) as file:
                file["images"] = h5py.ExternalLink(str(sources / f"{scan % SOURCES}.h5"), "/images")
                file.create_dataset("labels", (EACH, 224, 224), np.uint8)  # nothing is stored: the values are 0
                file["counts"] = np.where(random.random((EACH, 4)) < 0.3, 9000, 100).astype(np.int32)
                file["lung"] = np.full(EACH, 60000, np.int32)
                file["positions"] = np.arange(EACH, dtype=np.float32)
                who = {"patient": np.bytes_(f"{scan // scans:016x}"), "series": np.bytes_(path.stem)}
                file.attrs.update(who | {"labelled": True, "pixel_area": 0.5, "phantom": True})
            parts.add(Row(path.stem, EACH, sha256(path)))
    write_folds(workspace)
    model = networks.build(network, seed=0)
    networks.save(workspace.model_dir(network, 0), model, {"kind": "network"})


def register() -> None:
    """Registers the network "coarse" and permits the links of this benchmark, which the store refuses."""
    from torch import nn

    from ildfv.store import hdf5
    from ildfv.train import networks

    hdf5._checked_arrays = lambda file, name: dict(file.items())

    if "coarse" in networks.NETWORKS:
        return

    @networks.register("coarse")
    def coarse(n_outputs):
        body = nn.Sequential()
        body.add_module("conv1", nn.Conv2d(3, 8, 8, stride=8))
        body.add_module("relu1", nn.ReLU())
        body.add_module("flatten", nn.Flatten())
        body.add_module("out", nn.Linear(8 * 28 * 28, n_outputs))
        return body, {"conv1": "relu1"}
