"""Fixtures of the tests that start from files."""

import pytest
from scan_files import ScanFiles


@pytest.fixture(scope="session")
def files() -> type[ScanFiles]:
    """Writers of small scans; see the class."""
    return ScanFiles
