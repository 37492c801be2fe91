"""With a plain installation the library works, and a command that needs an extra names it in one line."""

import json
import os
import subprocess
import sys

import pytest

from ildfv.cli.app import app
from ildfv.extras import EXTRAS
from ildfv.inference.predictor_location import KIND, VERSION

CORE_COMMANDS = {"doctor"}
CT_COMMANDS = sorted({c.name or c.callback.__name__ for c in app.registered_commands} - CORE_COMMANDS)
ARGUMENTS = {
    "phantom": ["scans"],
    "prepare": ["."],
    "experiment": ["losses"],
    "predict": ["scan", "--predictor", "predictor"],
    "similar": ["scan"],
}
TYPERS = {"pydantic"}  # in every plain installation, because typer ≥ 0.29 depends on it
PACKAGES = {module for modules in EXTRAS.values() for module in modules} - TYPERS | {"cupy", "psutil", "matplotlib"}

# The path finder does not find these packages, as if they were not installed.
HIDING = """
import importlib.machinery, os, sys
hidden = set(os.environ["HIDDEN"].split(","))
find = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in hidden else find(name, path, target)
importlib.machinery.PathFinder.find_spec = find_spec
"""


ONE_BY_ONE = """
import contextlib, io, json
from ildfv.cli import main
for line in json.loads(sys.argv[1]):
    sys.argv, out, err = ["ildfv", *line], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
        main()
    print(json.dumps([line[0], out.getvalue(), err.getvalue()]))
"""


def run_without(packages, code: str, *arguments, cwd=None) -> subprocess.CompletedProcess:
    environment = os.environ | {"HIDDEN": ",".join(packages)}
    line = [sys.executable, "-c", f"{HIDING}\n{code}", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, env=environment)


def command_without(packages, *arguments, cwd=None) -> subprocess.CompletedProcess:
    return run_without(packages, "from ildfv.cli import main; main()", *arguments, cwd=cwd)


def test_the_library_works_without_any_extra():
    ended = run_without(
        PACKAGES,
        "import ildfv, numpy as np\n"
        "for name in ildfv.__all__: getattr(ildfv, name)\n"
        "x = np.random.default_rng(0).normal(size=(3, 50, 4)).astype('f')\n"
        "mixture = ildfv.GaussianMixture(2, max_iter=2, tol=10).fit(x)\n"
        "f = ildfv.FisherVector(mixture).transform(x)\n"
        "z = ildfv.PCA(2).fit_transform(f)\n"
        "print(ildfv.MultivariateRegression().fit(z, z[:, :1]).predict(z).shape)\n"
        "print(*[name for name in sys.modules if name in hidden])",
    )
    assert (ended.stderr, ended.stdout) == ("", "(3, 1)\n\n")


def test_help_and_version_need_no_extra():
    expected = {
        ("--help",): "Detect patterns of lung",
        ("--version",): "ildfv 0.",
        ("encode", "--help"): "--components",
    }
    ended = run_without(PACKAGES, ONE_BY_ONE, json.dumps(list(expected)))
    assert (ended.returncode, ended.stderr) == (0, "")
    printed = [json.loads(line) for line in ended.stdout.splitlines()]
    for (_, out, err), text in zip(printed, expected.values(), strict=True):
        assert (err, text in out) == ("", True)


def test_doctor_needs_no_extra_and_names_the_missing_ones():
    ended = command_without(PACKAGES, "doctor", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    findings = {finding["what"]: finding for finding in json.loads(ended.stdout)["findings"]}
    assert findings["C++ kernel"]["state"] == "ok"
    assert findings["extra [ct]"]["state"] == "absent"
    assert findings["extra [ct]"]["advice"] == "pip install 'ildfv[ct]'"


@pytest.fixture
def place(tmp_path):
    """A folder with empty files where the commands expect their inputs, which they check before they import."""
    for name in ("scan", "predictor"):
        (tmp_path / name).mkdir()
    for name in ("workspace.toml", "predictor/predictor.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "predictor/predictor.json").write_text(json.dumps({"kind": KIND, "version": VERSION}))
    return tmp_path


def test_a_command_without_its_extra_gives_a_one_line_error_that_names_the_extra(place):
    before = sorted(place.rglob("*"))
    lines = [[name, *ARGUMENTS.get(name, [])] for name in CT_COMMANDS]
    ended = run_without(PACKAGES, ONE_BY_ONE, json.dumps(lines), cwd=place)
    assert (ended.returncode, ended.stderr) == (0, "")
    printed = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [name for name, _, _ in printed] == CT_COMMANDS
    for name, out, err in printed:
        start = f"error: the extra [ct] is required for `ildfv {name}`: pip install 'ildfv[ct]' ("
        assert (out, err[: len(start)], err.count("\n")) == ("", start, 1)
    assert sorted(place.rglob("*")) == before


def test_the_error_is_one_json_document_with_json_output(place):
    ended = command_without(PACKAGES, "stats", "--json", cwd=place)
    assert ended.returncode == 2
    assert "the extra [ct] is required" in json.loads(ended.stdout)["error"]


@pytest.mark.parametrize("package", ["pydicom", "torch", "nibabel"])
def test_phantom_names_each_package_that_it_lacks(package, tmp_path):
    """`phantom` does not use torch: only packages that it needs are named."""
    ended = command_without({package}, "phantom", tmp_path / "scans", "--patients", 1, "--slices", 3, "--workers", 1)
    if package == "torch":
        assert ended.returncode == 0, ended.stderr
    else:
        assert ended.returncode == 2
        assert ended.stderr.startswith("error: the extra [ct] is required for `ildfv phantom`: pip install 'ildfv[ct]'")
        assert f"({package} is not installed)" in ended.stderr
