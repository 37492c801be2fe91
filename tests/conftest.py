"""Options and fixtures of all tests: real CT (--real-data), GPU tests, and a check for leftover threads."""

import gc
import os
import shutil
import threading
import time
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--real-data", type=Path, default=None, help="folder with real CT; tests that need it are skipped otherwise"
    )


def pytest_configure(config):
    gc.disable()  # until all tests are collected: importing them creates millions of objects that stay
    # A sync takes milliseconds, and only a loss of power would show whether it was made. tests/store/test_sync.py tests
    # that files and folders are synced, and in which order.
    os.fsync = lambda handle: None


def pytest_collection_modifyitems(items):
    # Each worker begins with a range of the tests in this order. The tests of experiments share networks that take a
    # minute to train: in one range, only one worker trains them, and as the first tests, they do not end last.
    items.sort(key=lambda item: "experiments" not in item.path.parts)


def pytest_collection_finish(session):
    # Out-of-memory handlers collect garbage. A collection that examines all objects of torch and of the tests takes
    # longer than most tests; frozen objects are not examined.
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def real_data(request) -> Path:
    """The folder of real CT; without --real-data the test is skipped."""
    path = request.config.getoption("--real-data")
    if path is None:
        pytest.skip("needs real CT: pass --real-data PATH")
    if not path.is_dir():
        pytest.fail(f"--real-data must name a folder, got {path}")
    return path.resolve()


@pytest.fixture
def threads_end():
    """Fails a test that leaves a thread running; threads that are ending have a moment to do so."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 10
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left


@pytest.fixture
def inline():
    """Prepares scans in this process."""
    from preparing import in_this_process

    with in_this_process():
        yield


@pytest.fixture(scope="module")
def browser():
    """Chromium, for tests of the appearance of pages; skips the test if Playwright or Chromium is missing."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield one
        one.close()
