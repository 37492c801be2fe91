"""Every imported package is a dependency or in an extra, and the table of extras is that of pyproject.toml."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from ildfv.errors import MissingPackageError, naming_missing_extra, require
from ildfv.extras import EXTRAS, extra_of

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = {
    "array_api_compat": "array-api-compat",
    "h5py": "h5py",
    "numpy": "numpy",
    "rich": "rich",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "threadpoolctl": "threadpoolctl",
    "typer": "typer",
}
CUPY = {"cupy"}  # in two extras, so device.py names both
GUESTS = {"numba"}  # imported only if a caller passes its arrays


def distributions(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}


def imported_packages(file: Path) -> set[str]:
    """Top-level packages that the file imports anywhere, also inside functions."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]
    return {name.partition(".")[0] for name in names}


def test_a_plain_installation_has_exactly_the_required_dependencies():
    assert distributions(PROJECT["dependencies"]) == set(CORE.values())


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_table_of_extras_is_that_of_pyproject(extra):
    assert distributions(PROJECT["optional-dependencies"][extra]) == set(EXTRAS[extra].values())


def test_modules_belong_to_the_distributions_in_the_table():
    installed = metadata.packages_distributions()
    known = {m: d for modules in (CORE, *EXTRAS.values()) for m, d in modules.items() if m in installed}
    assert len(known) >= len(CORE) + len(EXTRAS["ct"])
    for module, distribution in known.items():
        assert distribution in {name.lower().replace("_", "-") for name in installed[module]}


def test_every_imported_package_is_a_dependency_or_in_an_extra():
    files = [*(ROOT / "ildfv").rglob("*.py"), *(ROOT / "train").rglob("*.py")]
    assert len(files) > 100
    unknown = {
        (str(file.relative_to(ROOT)), package)
        for file in files
        for package in imported_packages(file) - set(sys.stdlib_module_names) - {"ildfv"} - set(CORE) - CUPY - GUESTS
        if extra_of(package) is None
    }
    assert unknown == set()


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    with pytest.raises(MissingPackageError) as raised:
        require("timm_no", purpose="this")
    assert str(raised.value) == "timm_no is required for this: pip install timm_no"
    monkeypatch.setattr("ildfv.errors.is_installed", lambda module: False)
    with (
        pytest.raises(
            MissingPackageError, match=r"^the extra \[pacs\] is required for Xs: pip install 'ildfv\[pacs\]' "
        ),
        naming_missing_extra("Xs"),
    ):
        raise ModuleNotFoundError("No module named 'pynetdicom'", name="pynetdicom.ae")


@pytest.mark.parametrize("module", ["ildfv.nothing", "h5py.nothing", "pydicom.nothing"])
def test_other_import_errors_are_not_reported_as_missing_extras(module):
    with pytest.raises(ModuleNotFoundError) as raised, naming_missing_extra("x"):
        __import__(module)
    assert not isinstance(raised.value, MissingPackageError)


def test_a_package_that_is_installed_and_fails_shows_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "lungmask.py").write_text("raise ImportError('libfoo.so is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        MissingPackageError, match=r"lungmask cannot be imported for x: libfoo.so is missing. To install it: pip"
    ):
        require("lungmask", purpose="x")
