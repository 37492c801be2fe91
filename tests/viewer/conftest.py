"""Scans, predictions and a workspace that the viewer's tests share."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from viewer_support import make_prediction, make_scans, make_workspace


@pytest.fixture(scope="session", autouse=True)
def inline():
    """Prepares in this process, because starting worker processes takes a second and other tests cover them."""

    def as_completed(function, tasks, workers=None):
        yield from ((i, function(task)) for i, task in enumerate(tasks))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ildfv.datasets.prepare_run.as_completed", as_completed)
        yield


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> Path:
    return make_scans(tmp_path_factory.mktemp("viewer") / "scans")


@pytest.fixture(scope="session")
def scan(scans) -> Path:
    """The first patient: a DICOM series with a label map."""
    return scans / "patient-0001"


@pytest.fixture(scope="session")
def prediction(scan, tmp_path_factory) -> Path:
    return make_prediction(tmp_path_factory.mktemp("viewer") / "answer", scan)


@pytest.fixture(scope="session")
def prepared(scans, tmp_path_factory) -> tuple[Path, Path]:
    """A workspace whose scans have no label maps, and these scans."""
    folder = tmp_path_factory.mktemp("viewer")
    own = Path(shutil.copytree(scans, folder / "scans"))
    return make_workspace(folder / "workspace", own), own


@pytest.fixture
def workspace(prepared, tmp_path) -> Path:
    """A copy of the workspace, whose prepare.json names the same scans."""
    return Path(shutil.copytree(prepared[0], tmp_path / "workspace"))
