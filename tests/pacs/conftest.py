"""A small predictor, and a real Orthanc on loopback."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "pipeline"), str(HERE.parent / "dicom_output")]


@pytest.fixture(scope="session")
def predictor(tmp_path_factory) -> Path:
    """The folder of a predictor with a Fisher head."""
    from dataclasses import replace

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


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch):
    for name in ("USER", "PASSWORD", "TOKEN", "CREDENTIALS"):
        monkeypatch.delenv(f"ILDFV_PACS_{name}", raising=False)


@pytest.fixture
def orthanc(tmp_path):
    """An empty Orthanc; the test is skipped where it is not installed."""
    from orthanc_server import ORTHANC, PLUGIN, running

    if ORTHANC is None or PLUGIN is None:
        pytest.skip("needs Orthanc: apt install orthanc orthanc-dicomweb")
    with running(tmp_path / "orthanc") as server:
        yield server
