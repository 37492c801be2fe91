"""results/<name>.csv has the hashes of patient and series, and the position, of every scored slice."""

import csv

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.pipeline.report import make_report
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.pipeline.train import train_network
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import sha256


@pytest.fixture
def scored(root):
    results = train_network(root, network="small", name="own", epochs=1, fold=1)
    return Workspace.open(root), results


def test_a_line_names_patient_series_position_and_fold(scored):
    workspace, results = scored
    slices = workspace.slices()
    test = split_slices(slices, load_folds(workspace), 1).test
    with (workspace.results_dir / "cnn-own-fold-1.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["slice"]) for row in rows] == test.tolist()
    assert [row["patient"] for row in rows] == slices.patients[test].tolist()
    assert [row["series"] for row in rows] == slices.series[test].tolist()
    assert [float(row["position"]) for row in rows] == slices.positions[test].tolist()
    assert {row["fold"] for row in rows} == {"1"}
    indices, scores = read_scores(workspace, "cnn-own-fold-1", results.scores_sha256)
    np.testing.assert_array_equal(indices, test)
    assert [float(row["emphysema"]) for row in rows] == scores[:, 3].tolist()
    make_report(workspace.root)


def test_a_table_with_other_columns_is_refused_in_one_line(scored):
    workspace, _ = scored
    table = workspace.results_dir / "cnn-own-fold-1.csv"
    table.write_text("slice,emphysema,ground glass,reticular,honeycomb\n0,1,2,3,4\n")
    with pytest.raises(InputError, match="must have the columns slice, patient, series, position, fold"):
        read_scores(workspace, "cnn-own-fold-1", sha256(table))


def test_a_table_of_an_older_version_is_still_read(scored):
    workspace, _ = scored
    table = workspace.results_dir / "cnn-own-fold-1.csv"
    table.write_text("slice,ground glass,reticular,honeycomb,emphysema\n7,1,2,3,4\n")
    indices, scores = read_scores(workspace, "cnn-own-fold-1", sha256(table))
    assert indices.tolist() == [7]
    assert scores.tolist() == [[1, 2, 3, 4]]
