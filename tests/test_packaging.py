"""Files about the distribution agree with pyproject.toml: licences, conda recipe, workflows, wheels."""

import ast
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_USERS = set(EXTRAS) - {"all", "cuda12", "cuda13", "dev", "dist", "docs", "test"}  # [all] is the union of the others
SECTION = re.compile(r"^## (?:Default installation|Extra `(\w+)`)$", re.MULTILINE)
ROW = re.compile(r"^\| (\**)([\w.-]+)\1 \| \S+ \| (.+) \|$", re.MULTILINE)


def names(requirements: list[str]) -> set[str]:
    return {Requirement(line).name for line in requirements}


def licences() -> dict[str, list[tuple[bool, str, str]]]:
    """(named in pyproject, package, licence) by extra, "" for a plain installation, as in docs/licences.md."""
    _, *parts = SECTION.split((ROOT / "docs/licences.md").read_text())
    rows = {extra or "": ROW.findall(text) for extra, text in zip(parts[::2], parts[1::2], strict=True)}
    return {
        extra: [(bool(bold), *rest) for bold, *rest in found if rest[0] != "package"] for extra, found in rows.items()
    }


def test_the_page_of_licences_lists_the_packages_of_pyproject():
    found = {extra: {name for requested, name, _ in rows if requested} for extra, rows in licences().items()}
    assert found == {"": names(PROJECT["dependencies"])} | {extra: names(EXTRAS[extra]) for extra in FOR_USERS}


def test_nothing_that_users_install_is_under_the_gpl():
    stated = {name: text for rows in licences().values() for _, name, text in rows}
    assert len(stated) > 50
    assert [name for name, text in stated.items() if re.search(r"(?<!L)GPL", text)] == []
    weak = {name for name, text in stated.items() if "LGPL" in text}
    assert weak == {"fastremap", "fill-voids"}  # of [lungs]; others need a decision
    assert not weak & {name for _, name, _ in licences()[""]}


def test_the_conda_recipe_has_the_dependencies_of_pyproject():
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text())
    plain = {line.replace(" ", "") for line in recipe["requirements"]["run"]}
    assert plain == {*PROJECT["dependencies"], f"python{PROJECT['requires-python']}"}
    host = {line.replace(" ", "") for line in recipe["requirements"]["host"]}
    assert host - {"pip", "python"} == set(PYPROJECT["build-system"]["requires"])
    assert recipe["build"]["python"]["entry_points"] == [f"{k} = {v}" for k, v in PROJECT["scripts"].items()]
    for file in (recipe["about"]["license_file"], *recipe["tests"][1]["files"]["source"]):
        assert (ROOT / file).is_file()


@pytest.mark.parametrize("file", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda file: file.stem)
def test_workflows_run_targets_and_files_that_exist(file):
    yaml = pytest.importorskip("yaml")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    steps = [step for job in yaml.safe_load(file.read_text())["jobs"].values() for step in job["steps"]]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    made = {step["run"].removeprefix("make ") for step in steps if step.get("run", "").startswith("make ")}
    assert made
    assert made <= targets


def test_wheels_run_on_any_processor_of_their_architecture():
    flags = (ROOT / "setup.py").read_text()
    strings = [node.value for node in ast.walk(ast.parse(flags)) if isinstance(node, ast.Constant)]
    assert not [one for one in strings if isinstance(one, str) and re.match("-m(arch|cpu|tune|avx|sse|fma)", one)]


def test_cibuildwheel_builds_all_promised_wheels_and_runs_the_smoke_test():
    settings = PYPROJECT["tool"]["cibuildwheel"]
    assert settings["linux"]["archs"] == ["x86_64", "aarch64"]
    assert settings["macos"]["archs"] == ["x86_64", "arm64"]
    assert (ROOT / settings["test-command"].split("{project}/")[1]).is_file()


def test_files_without_git_history_name_the_version_of_pyproject():
    fallback = PYPROJECT["tool"]["setuptools_scm"]["fallback_version"]
    assert Version(fallback).is_devrelease
    assert f"\nARG VERSION={fallback}\n" in (ROOT / "Dockerfile").read_text()
    assert f"\n  version: {fallback}\n" in (ROOT / "packaging/conda/recipe.yaml").read_text()


def test_the_version_is_valid_and_that_of_the_installed_package():
    import ildfv

    assert str(Version(ildfv.__version__)) == metadata.version("ildfv")
