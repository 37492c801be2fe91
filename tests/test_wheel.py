"""The wheel is built, is small, and works in a new environment without a compiler."""

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def index_problem(folder: Path) -> str | None:
    """Why packages cannot be installed, or None."""
    line = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "pyproject-hooks"]
    ended = subprocess.run(line, capture_output=True, text=True)
    return None if ended.returncode == 0 else f"the package index cannot be reached: {ended.stderr.strip()[-200:]}"


@pytest.mark.slow
def test_the_wheel_is_small_and_works_without_a_compiler(tmp_path):
    # `import build` alone would also find the folder build/ of setuptools.
    for name in ("build.__main__", "auditwheel") if sys.platform == "linux" else ("build.__main__",):
        pytest.importorskip(name)
    if problem := index_problem(tmp_path):
        pytest.skip(problem)
    line = [sys.executable, ROOT / "packaging/dist.py", "--out", tmp_path / "dist"]
    ended = subprocess.run(line, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    made = json.loads(ended.stdout)
    assert made["wheel_bytes"] < 3_000_000
    if sys.platform == "linux":
        assert re.search(r"-manylinux_2_\d+_\w+\.whl$", made["wheel"])
    with zipfile.ZipFile(made["wheel"]) as wheel:
        names = wheel.namelist()
    assert {"ildfv/py.typed", "ildfv/train/trainer.py", "ildfv/_csrc/cuda/moments.cu"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "packaging/", "bench/"))]
    with tarfile.open(made["sdist"]) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"csrc/cpu/moments.cpp", "packaging/smoke.py", "tests/conftest.py", "PKG-INFO"} <= inside
    assert "ildfv/kernels/_native.cpp" not in inside  # made from the .pyx file
