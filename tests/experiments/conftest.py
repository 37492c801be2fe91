"""A workspace of eight patients whose slices show lung, and a preset that takes seconds."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))

from tiny import TINY, make_tiny

from ildfv.experiments.context import Context


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny") / "workspace").root


@pytest.fixture(scope="session")
def used(made, tmp_path_factory):
    """A workspace shared by the tests of this folder, including the networks that earlier tests trained."""
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("used") / "workspace"))


@pytest.fixture(scope="session")
def context(used):
    return Context(used, TINY, device="cpu")


@pytest.fixture(scope="module", autouse=True)
def few_moves():
    """Mixtures start after at most two split-and-merge moves, whose effect tests/estimators tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ildfv.estimators.split_merge.MAX_MOVES", 2)
        yield
