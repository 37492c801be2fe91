"""Compiled parts of ildfv and the folder mapping; everything else is in pyproject.toml."""

import glob
import os
import platform

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

OPENMP = [] if platform.system() == "Darwin" else ["-fopenmp"]

native = Extension(
    "ildfv.kernels._native",
    sources=[
        "ildfv/kernels/_native.pyx",
        *(f"csrc/cpu/{name}.cpp" for name in ("moments", "baseline", "avx2", "avx512")),
    ],
    include_dirs=["csrc", numpy.get_include()],
    depends=["csrc/common/mixture.h", *glob.glob("csrc/cpu/*.h")],
    # No -march=native: a wheel must run where it was not built; the kernel picks its vector width at run time.
    extra_compile_args=[
        "-O3",
        "-std=c++17",
        "-fno-math-errno",
        "-ffp-contract=fast",
        *OPENMP,
        *os.environ.get("ILDFV_CXXFLAGS", "").split(),
    ],
    extra_link_args=[*OPENMP, *os.environ.get("ILDFV_LDFLAGS", "").split()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    language="c++",
)

setup(
    packages=[
        "ildfv",
        "ildfv.cli",
        "ildfv.estimators",
        "ildfv.evaluation",
        "ildfv.experiments",
        "ildfv.kernels",
        "ildfv.pipeline",
        "ildfv.report",
        "ildfv.scans",
        "ildfv.scans.phantom",
        "ildfv.store",
        "ildfv.train",
        "ildfv._csrc",
        "ildfv._csrc.common",
        "ildfv._csrc.cpu",
        "ildfv._csrc.cuda",
    ],
    package_dir={"ildfv": "ildfv", "ildfv.train": "train", "ildfv._csrc": "csrc"},
    package_data={
        "ildfv": ["py.typed"],
        "ildfv.kernels": ["*.pyx", "*.pyi"],
        "ildfv.report": ["templates/*"],
        "ildfv.scans": ["codes/*.toml"],
        "ildfv.experiments": ["*.json", "*.toml"],
        "ildfv._csrc.common": ["*.h"],
        "ildfv._csrc.cpu": ["*.h", "*.cpp"],
        "ildfv._csrc.cuda": ["*.cu", "*.h"],
    },
    include_package_data=False,
    ext_modules=cythonize([native], compiler_directives={"language_level": 3}),
)
