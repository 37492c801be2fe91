"""Imports are fast: heavy packages are loaded only where they are used."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "typer", "pydicom", "cupy", "faiss", "highdicom", "matplotlib")


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after `code`."""
    ask = f"import sys; {code}; print(*[name for name in {HEAVY} if name in sys.modules])"
    return set(subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split())


def test_the_estimators_need_neither_torch_nor_pydicom():
    names = (
        "BagOfWords, FisherVector, GaussianMixture, MultivariateRegression, PCA, Pooling, SpatialPyramid, VLAD, moments"
    )
    assert loaded_by(f"from ildfv import {names}") == set()


def test_moments_of_numpy_arrays_load_no_torch():
    code = (
        "import numpy as np; from ildfv import GaussianMixture, FisherVector; "
        "x = np.random.default_rng(0).normal(size=(3, 50, 4)).astype('f'); "
        "FisherVector(GaussianMixture(2, max_iter=2, tol=10).fit(x)).transform(x)"
    )
    assert loaded_by(code) == set()


def test_the_command_line_works_without_torch():
    assert loaded_by("import ildfv.cli.app") <= {"typer"}


@pytest.mark.parametrize(
    "arguments", [["classify", "none"], ["encode", "none", "--out", "f"], ["predict", "m", "none"]]
)
def test_a_missing_folder_is_reported_before_slow_imports(arguments):
    """scikit-learn takes a second to import."""
    code = f"""
import sys
from ildfv.cli.app import app
from ildfv.errors import InputError
try:
    app(["texture", *{arguments!r}], standalone_mode=False)
except InputError as error:
    print(error)
print("sklearn" in sys.modules, "scipy" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, loaded = ended.stdout.splitlines()
    assert message.startswith(("none must be", "m must be a folder"))
    assert loaded == "False False"


def test_native_sources_are_installed_with_the_package():
    from importlib.resources import files

    assert "standardised" in (files("ildfv._csrc") / "common/mixture.h").read_text()
    assert (files("ildfv._csrc") / "cuda/moments.cu").is_file()
