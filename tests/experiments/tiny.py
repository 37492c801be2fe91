"""Eight patients of six slices with lung inside a chest wall, and the smallest preset, for the tests of this folder."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import small

from ildfv.datasets.slice_store import ScanSlices, write_scan
from ildfv.experiments.presets import Preset
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.store.parts import writing_parts

WALL = 80  # pixels of chest around the lung: enough for the lung mask, and few positions for the sliding window

TINY = Preset(
    name="tiny",
    patients=4,
    slices_per_scan=3,
    folds=4,
    run=2,
    train={"epochs": 1, "batch_size": 8},
    network="small",
    networks={"small": {"epochs": 2}},
    network_folds=1,
    layers=("conv1", "fc6"),
    layer="conv1",
    dense_layer="conv1",
    difficulty="easy",
    components=3,
    sweep_components=(2, 3),
    words=6,
    passes=2,
    dimensions=8,
    sweep_dimensions=(4, 8),
    small_share=0.5,
    growth=(2, 3, 100),
    target_thresholds=(4000,),
    patches_per_slice=2,
    patch_epochs=1,
    timed_slices=2,
    resamples=50,
)


def scan(number: int) -> ScanSlices:
    """The scan of the pipeline tests inside a wall of soft tissue."""
    one = small.scan(number)
    images = one.images.copy()
    wall = np.ones((224, 224), bool)
    wall[WALL:-WALL, WALL:-WALL] = False
    images[..., wall] = 230  # 43 HU in the normal window
    return replace(one, images=images)


def make_tiny(root: Path) -> Workspace:
    workspace = Workspace.open_or_create(root, version="test", salt="0123456789abcdef", folds=4)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(small.PATIENTS):
            parts.add(write_scan(workspace.slices_dir, scan(number)))
    write_folds(workspace)
    return workspace


def change_part(workspace: Workspace, fold: int, part: str) -> None:
    """Replaces the images and labels of each patient of the fold's "test" or "validation" part; not folds.json."""
    from ildfv.pipeline.split import load_folds, split_slices

    slices, folds = workspace.slices(), load_folds(workspace)
    change_patients(workspace, set(slices.patients[getattr(split_slices(slices, folds, fold), part)]))


def change_patients(workspace: Workspace, patients: set[str]) -> None:
    """Replaces the images and labels of these patients. The scans keep their order, which random draws depend on."""
    slices = workspace.slices()
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(small.PATIENTS):
            one = scan(number)
            if one.patient in patients:
                other = scan(number + 50)
                changed = replace(one, images=255 - other.images // 2, labels=other.labels, counts=other.counts)
                order = parts.rows[one.series].order
                parts.drop(one.series)
                parts.add(replace(write_scan(workspace.slices_dir, changed), order=order))
    assert workspace.slices().key != slices.key


def stored(ran: dict) -> dict:
    """The result of `run_experiments`, with its documents as read from their JSON files."""
    return ran | {"experiments": [json.loads(json.dumps(one.to_dict())) for one in ran["experiments"]]}
