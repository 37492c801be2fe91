"""Fixtures of the tests that start from files."""

import pytest
from scan_files import ScanFiles


@pytest.fixture(scope="session")
def files() -> type[ScanFiles]:
    """Writers of small scans; see the class."""
    return ScanFiles


@pytest.fixture
def inline(monkeypatch):
    """Runs tasks in this process, because starting worker processes takes a second and other tests cover them."""

    def as_completed(function, tasks, workers=None):
        yield from ((i, function(task)) for i, task in enumerate(tasks))

    monkeypatch.setattr("ildfv.datasets.prepare_run.as_completed", as_completed)
