"""The build by nvcc: launcher and extension compile where nvcc and Cython are installed; else nothing is built."""

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


@pytest.mark.parametrize("wanted", ["0", "1"])
def test_without_nvcc_the_extension_is_skipped_silently(tmp_path, wanted):
    pytest.importorskip("Cython")
    program = (
        "import setuptools, sys; setuptools.setup = lambda **given: print(*(e.name for e in given['ext_modules']));"
        "import Cython.Build; Cython.Build.cythonize = lambda extensions, **_: extensions;"
        "exec(open('setup.py').read())"
    )
    environment = {**os.environ, "ILDFV_CUDA": wanted, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["ildfv.kernels._native"]
    assert done.stderr == ""
