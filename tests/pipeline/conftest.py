"""The small workspace, created once, and encoded and regressed once."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from finished import ENCODE, command
from small import make_workspace


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("small") / "workspace").root


@pytest.fixture
def root(original, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(original, tmp_path / "workspace"))


@pytest.fixture(scope="session")
def done(original, tmp_path_factory):
    """A workspace that is encoded and regressed."""
    root = Path(shutil.copytree(original, tmp_path_factory.mktemp("done") / "workspace"))
    for arguments in (ENCODE, ("regress",)):
        ended = command(root, *arguments)
        assert ended.returncode == 0, ended.stderr
    return root


@pytest.fixture
def encoded(done, tmp_path):
    return Path(shutil.copytree(done, tmp_path / "encoded"))
