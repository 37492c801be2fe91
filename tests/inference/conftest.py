"""Makes the slice sets of the trainer's and the pipeline's tests importable; one predictor for all tests of answers."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

for folder in ("train", "pipeline", ""):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of a predictor with one head, on conv1 of a small network with random weights."""
    from small import make_workspace
    from test_regions import LUNG

    from ildfv.pipeline.encode import encode_slices
    from ildfv.pipeline.export import export_predictor
    from ildfv.pipeline.regress import regress_encoding

    root = tmp_path_factory.mktemp("study")
    workspace = make_workspace(root / "study")
    encode_slices(workspace.root, replace(LUNG, region="slice"))
    regress_encoding(workspace.root, layer="conv1")
    export_predictor(workspace.root, root / "predictor", layer="conv1")
    return root / "predictor"


@pytest.fixture(scope="session")
def prediction(folder, tmp_path_factory):
    """The prediction for a generated chest of six slices."""
    from scan_files import ScanFiles

    from ildfv.inference.predictor import Predictor

    path = tmp_path_factory.mktemp("scan") / "dicom"
    ScanFiles.series(path, ScanFiles.chest())
    return Predictor.load(folder).predict(path)
