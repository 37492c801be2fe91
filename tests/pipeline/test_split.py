"""The folds of a workspace depend on its slices and seed, not on the salt of the patients' names."""

import hashlib
from dataclasses import replace

import small

from ildfv.datasets.slice_store import write_scan
from ildfv.pipeline.split import split_slices, write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.store.parts import writing_parts


def salted(root, salt):
    """A workspace of the same scans, whose patients and series have names that depend on the salt; name → number."""
    workspace, numbers = Workspace.open_or_create(root, version="test", salt=salt, folds=4), {}
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(small.PATIENTS):
            patient, series = (hashlib.sha256(f"{salt}{kind}{number}".encode()).hexdigest()[:16] for kind in "ps")
            numbers[patient] = number
            parts.add(write_scan(workspace.slices_dir, replace(small.scan(number), patient=patient, series=series)))
    return workspace, numbers


def test_two_salts_give_the_same_folds_and_the_same_inner_splits(tmp_path):
    found = []
    for salt in ("0123456789abcdef", "fedcba9876543210"):
        workspace, numbers = salted(tmp_path / salt, salt)
        folds, slices = write_folds(workspace), workspace.slices()
        splits = [split_slices(slices, folds, fold) for fold in range(folds.n_folds)]
        found.append(
            [
                {numbers[p] for p in slices.patients[getattr(split, part)]}
                for split in splits
                for part in ("fit", "validation", "test")
            ]
        )
    assert found[0] == found[1]
