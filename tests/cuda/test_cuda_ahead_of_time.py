"""The build by nvcc: launcher and extension compile where nvcc and Cython are installed; otherwise nothing is built."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = (ROOT / "csrc" / "cuda" / "launch.cu").read_text(encoding="utf-8")
EXTENSION = ROOT / "ildfv" / "kernels" / "_native_cuda.pyx"


@pytest.mark.slow
def test_the_launcher_compiles(tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc")
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout.split()
    command = [
        nvcc,
        "-std=c++17",
        f"-arch={known[-1]}",
        "-I",
        str(ROOT / "csrc"),
        "-ptx",
        "-o",
        str(tmp_path / "x.ptx"),
    ]
    subprocess.run([*command, str(ROOT / "csrc" / "cuda" / "launch.cu")], check=True)
    assert ".entry moments_resident_float32" in (tmp_path / "x.ptx").read_text()


def test_the_extension_translates_and_declares_what_the_launcher_defines(tmp_path):
    pytest.importorskip("Cython")
    target = tmp_path / "native.cpp"
    subprocess.run([sys.executable, "-m", "cython", "--cplus", "-3", str(EXTENSION), "-o", str(target)], check=True)
    declared = set(re.findall(r'extern "C" [\w *]+?(ildfv_\w+)\(', EXTENSION.read_text(encoding="utf-8")))
    assert declared == set(re.findall(r'extern "C" [\w *]+?(ildfv_\w+)\(', LAUNCH))


def extensions(path: Path, **settings: str):
    """Names of the extensions that setup.py builds with this PATH and these settings, and its warnings."""
    pytest.importorskip("Cython")
    program = (
        "import setuptools, sys; setuptools.setup = lambda **given: print(*(e.name for e in given['ext_modules']));"
        "import Cython.Build; Cython.Build.cythonize = lambda extensions, **_: extensions;"
        "exec(open('setup.py').read())"
    )
    environment = {**os.environ, **settings, "PATH": str(path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize("wanted", ["0", "1"])
def test_without_nvcc_the_extension_is_skipped_silently(tmp_path, wanted):
    assert extensions(tmp_path, ILDFV_CUDA=wanted) == (["ildfv.kernels._native"], "")


@pytest.mark.parametrize(
    ("asked", "built"),
    [("75 80 90", True), ("90", True), ("90 123", True), ("123", False), ("123 124", False), ("", False)],
)
def test_without_an_architecture_that_nvcc_knows_the_extension_is_skipped_with_a_warning(tmp_path, asked, built):
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\necho compute_80\necho compute_90\n", encoding="utf-8")
    nvcc.chmod(0o755)
    names, warned = extensions(tmp_path, ILDFV_CUDA="1", ILDFV_CUDA_ARCHITECTURES=asked)
    assert names == ["ildfv.kernels._native", "ildfv.kernels._native_cuda"][: 1 + built]
    assert (f"nvcc supports none of ILDFV_CUDA_ARCHITECTURES {asked}" in warned) == (not built)
