"""What all tests share: real CT by --real-data, a GPU where there is one."""

import threading
import time
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--real-data", type=Path, default=None, help="folder with real CT; its tests are skipped without it"
    )


@pytest.fixture(scope="session")
def real_data(request) -> Path:
    """The folder of real CT, or a visible skip."""
    path = request.config.getoption("--real-data")
    if path is None:
        pytest.skip("needs real CT: pass --real-data PATH")
    if not path.is_dir():
        pytest.fail(f"--real-data must name a folder, got {path}")
    return path.resolve()


@pytest.fixture
def threads_end():
    """Fails a test that leaves a thread behind; threads that were told to end may take a moment."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 10
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left
