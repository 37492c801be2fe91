"""Compiled parts of ildfv and the folder mapping; everything else is in pyproject.toml."""

import glob
import os
import platform
import re
import shutil
import subprocess
import warnings

import numpy
from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

OPENMP = [] if platform.system() == "Darwin" else ["-fopenmp"]

CPU_SOURCES = (
    *("moments", "contributions", "fisher", "baseline", "avx2", "avx512"),
    *("windows", "regions", "counts"),
    *("drawing", "smoothing", "nearest", "tubes", "distance"),
    *("response", "pooled"),
)

native = Extension(
    "ildfv.kernels._native",
    sources=[
        "ildfv/kernels/_native.pyx",
        *(f"csrc/cpu/{name}.cpp" for name in CPU_SOURCES),
    ],
    include_dirs=["csrc", numpy.get_include()],
    depends=[*glob.glob("csrc/common/*.h"), *glob.glob("csrc/cpu/*.h")],
    # No -march=native: a wheel must run on other machines; the kernel selects its instruction set at run time.
    extra_compile_args=[
        "-O3",
        "-g0",  # Python's own flags contain -g, and debug information is the larger part of a wheel
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


# --- CUDA, compiled at install time: only with ILDFV_CUDA=1 and nvcc; otherwise CuPy compiles the kernels at first use.

# Machine code for these, and PTX of the last for later architectures. ILDFV_CUDA_ARCHITECTURES="90" builds faster.
ARCHITECTURES = os.environ.get("ILDFV_CUDA_ARCHITECTURES", "75 80 86 89 90 100").split()


def architectures() -> list[str]:
    """Those of ARCHITECTURES that the installed nvcc can compile for."""
    known = subprocess.run(["nvcc", "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout.split()
    return [a for a in ARCHITECTURES if f"compute_{a}" in known]


def cuda_extensions() -> list[Extension]:
    """The extension with the kernels of csrc/cuda, as a list; empty without ILDFV_CUDA=1 and nvcc."""
    if os.environ.get("ILDFV_CUDA") != "1" or shutil.which("nvcc") is None:
        return []
    if not architectures():
        warnings.warn(
            f"no CUDA kernels are built: nvcc supports none of ILDFV_CUDA_ARCHITECTURES {' '.join(ARCHITECTURES)}; "
            "`nvcc --list-gpu-arch` lists those it supports",
            stacklevel=2,
        )
        return []
    return [Extension("ildfv.kernels._native_cuda", sources=["ildfv/kernels/_native_cuda.pyx"], language="c++")]


class BuildExtensions(build_ext):
    """build_ext that compiles the CUDA extension with nvcc."""

    def build_extension(self, extension):
        if extension.name.endswith("_native_cuda"):
            extension.extra_objects = [self.cuda_object()]
            # The CUDA runtime is linked statically, so that the extension can be imported without toolkit or driver.
            extension.extra_link_args = [f"-L{folder}" for folder in self.cuda_libraries()]
            extension.extra_link_args += ["-lcudart_static", "-ldl", "-lrt", "-lpthread"]
        super().build_extension(extension)

    def cuda_object(self) -> str:
        wanted = architectures()
        code = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in wanted]
        code.append(f"-gencode=arch=compute_{wanted[-1]},code=compute_{wanted[-1]}")
        target = os.path.join(self.build_temp, "ildfv_cuda.o")
        os.makedirs(self.build_temp, exist_ok=True)
        flags = ["-O3", "-std=c++17", "-ftz=true", "--threads=0", "-Xcompiler=-fPIC", "-Icsrc", *code]
        self.spawn(["nvcc", *flags, "-c", "csrc/cuda/launch.cu", "-o", target])
        return target

    @staticmethod
    def cuda_libraries() -> list[str]:
        """The library folders of the toolkit, as reported by nvcc, which may be a wrapper in another folder."""
        output = subprocess.run(["nvcc", "-dryrun", "-c", "csrc/cuda/launch.cu"], capture_output=True, text=True).stderr
        return re.findall(r'-L([^"\s]+)', next(line for line in output.splitlines() if "LIBRARIES=" in line))


# --- end of CUDA

setup(
    packages=[
        *find_packages(include=["ildfv*"]),
        "ildfv.train",
        *(f"ildfv._{package}" for package in find_packages(include=["csrc*"])),
    ],
    package_dir={"ildfv": "ildfv", "ildfv.train": "train", "ildfv._csrc": "csrc"},
    package_data={
        "ildfv": ["py.typed"],
        "ildfv.kernels": ["*.pxd", "*.pyx", "*.pyi"],
        "ildfv.inference": ["templates/*"],
        "ildfv.report": ["templates/*"],
        "ildfv.texture": ["templates/*"],
        "ildfv.scans": ["codes/*.toml"],
        "ildfv.viewer": ["static/*"],
        "ildfv.experiments": ["*.json", "*.toml"],
        "ildfv._csrc.common": ["*.h"],
        "ildfv._csrc.cpu": ["*.h", "*.cpp"],
        "ildfv._csrc.cuda": ["*.cu", "*.h"],
    },
    include_package_data=False,
    ext_modules=cythonize([native, *cuda_extensions()], compiler_directives={"language_level": 3}),
    cmdclass={"build_ext": BuildExtensions},
)
