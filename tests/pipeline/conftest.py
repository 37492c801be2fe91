"""The small workspace, created once."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small import make_workspace


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("small") / "workspace").root


@pytest.fixture
def root(original, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(original, tmp_path / "workspace"))
