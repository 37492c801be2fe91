"""The results of a workspace do not depend on its salt, by which patients, scans and files are named."""

import hashlib
from dataclasses import replace

import numpy as np
import small

from ildfv.datasets.slice_store import write_scan
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import newest
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.split import split_slices, write_folds
from ildfv.pipeline.train import train_network
from ildfv.pipeline.workspace import Workspace
from ildfv.store.parts import writing_parts

SALTS = ("0123456789abcdef", "fedcba9876543210", "000000000000000a")
SETTINGS = EncodeSettings(layer="conv1", components=4, dimensions=10, passes=2, batch_size=4)


def salted(root, salt):
    """A workspace of the same scans, whose patients and series have names that depend on the salt; name → number."""
    workspace, numbers = Workspace.open_or_create(root, version="test", salt=salt, folds=4), {}
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(small.PATIENTS):
            patient, series = (hashlib.sha256(f"{salt}{kind}{number}".encode()).hexdigest()[:16] for kind in "ps")
            numbers[patient] = number
            parts.add(write_scan(workspace.slices_dir, replace(small.scan(number), patient=patient, series=series)))
    return workspace, numbers


def test_folds_and_inner_splits_are_equal(tmp_path):
    found = []
    for salt in SALTS:
        workspace, numbers = salted(tmp_path / salt, salt)
        folds, slices = write_folds(workspace), workspace.slices()
        splits = [split_slices(slices, folds, fold) for fold in range(folds.n_folds)]
        found.append(
            [
                [numbers[p] for p in slices.patients[getattr(split, part)]]
                for split in splits
                for part in ("fit", "validation", "test")
            ]
        )
    assert found[0] == found[1] == found[2]


def test_training_encoding_regression_and_intervals_are_equal(tmp_path):
    found = []
    for salt in SALTS[:2]:
        workspace, _ = salted(tmp_path / salt, salt)
        write_folds(workspace)
        cnn = train_network(workspace.root, network="small", epochs=1, seed=0)
        encode_slices(workspace.root, SETTINGS)
        linear = regress_encoding(workspace.root)
        logistic = regress_encoding(workspace.root, head="logistic")
        projections = newest(workspace).projections()
        results = [result.model_dump(exclude={"settings", "scores_sha256"}) for result in (cnn, linear, logistic)]
        found.append((projections, results))  # excluded: checksums of inputs and of the table with the hashed names
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
