"""Scans, predictions and a workspace that the viewer's tests share."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browser_support import BROWSER, CHROMIUM, serve, until
from preparing import in_this_process
from viewer_support import make_prediction, make_scans, make_workspace


@pytest.fixture(scope="module", autouse=True)
def inline():
    with in_this_process():
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


@pytest.fixture(scope="module")
def browser():
    """Chromium; tests are skipped without it."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=BROWSER)
        yield one
        one.close()


@pytest.fixture(scope="module")
def address(prediction, scan):
    server, address = serve(prediction, scan, "--codes", "phantom")
    yield address
    server.terminate()
    assert server.wait(300) == 0


@pytest.fixture
def study(workspace):
    server, address = serve(workspace)
    yield address, workspace
    server.terminate()
    server.wait(300)


@pytest.fixture
def opened(browser):
    """A function that opens an address; the page must end without an error in its console."""
    pages = []

    def open_(address, *, expected=(), **options):
        options = {"viewport": {"width": 1400, "height": 900}} | options
        page = browser.new_context(**options).new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and problems.append(message.text))
        expected = (*expected, "willReadFrequently")  # a warning that these tests cause by reading the canvas
        pages.append((page, problems, expected))
        page.goto(address)
        until(page, "globalThis.viewer?.pane?.at ?? null")
        return page

    yield open_
    for page, problems, expected in pages:
        assert [one for one in problems if not any(text in one for text in expected)] == []
        page.context.close()


@pytest.fixture
def page(opened, address):
    one = opened(address)
    until(one, "viewer.pane.map && viewer.pane.map.planes.get(viewer.pane.z) && viewer.pane.view.overlay")
    return one
