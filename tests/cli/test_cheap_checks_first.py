"""Wrong paths and options are reported before the imports that take seconds."""

import json
import subprocess
import sys

import pytest

SLOW = ("torch", "sklearn", "scipy", "pydicom", "h5py", "pandas")

RUN = """
import contextlib, io, json, sys
from ildfv.cli import main
for line in json.loads(sys.argv[1]):
    sys.argv, out, err, code = ["ildfv", *line.split()], io.StringIO(), io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = ended.code
    loaded = [name for name in {slow} if name in sys.modules]
    print(json.dumps([code, out.getvalue(), " ".join(err.getvalue().split()), loaded]))
"""


DOCUMENT = "predict missing -p predictor --json"
CASES = [
    ("predict missing -p predictor", "scans must be an existing folder or file, got missing, which does not exist"),
    ("predict scan -p missing", "missing must be a predictor, but has no predictor.json: run `ildfv export`"),
    ("predict scan -p old", "must have version 2, got 1: run `ildfv export` again"),
    ("predict scan -p predictor --device gpu", 'device must be auto, cpu, cuda or cuda:i, got "gpu"'),
    ("predict scan -p predictor --cnn-maps lime --out out", "--cnn-maps must be grad-cam or occlusion"),
    ("predict scan -p predictor --out letter.html", "letter.html must be a folder or a new path"),
    ("predict missing scan -p predictor --follow-up", "got missing, which does not exist"),
    ("predict dicomweb://host/studies/x -p predictor", "a UID must have at most 64 digits and dots, got x"),
    ("similar missing:3 -w study", "scans must be an existing folder or file, got missing, which does not exist"),
    ("similar scan -w study --out letter.html", "letter.html must be a new file or a page of `ildfv similar`"),
    ("similar scan -w missing", "missing is not a workspace"),
    ("components -w study --out no/page.html", "must exist, got no folder"),
    ("encode -w missing", "missing is not a workspace, because workspace.toml is missing"),
    ("encode -w study --method em", 'method must be stepwise or exact, got "em"'),
    ("encode -w study --region heart", 'region must be slice, body or lung, got "heart"'),
    ("regress -w missing", "missing is not a workspace"),
    ("regress -w study --head lasso", 'head must be one of linear, ridge, logistic, got "lasso"'),
    ("regress -w study --target area", 'target must be one of counts, step, ramp, fraction, got "area"'),
    ("train -w missing", "missing is not a workspace"),
    ("train -w study --device tpu", 'device must be auto, cpu, cuda or cuda:i, got "tpu"'),
    ("fit -w missing", "missing is not a workspace"),
    ("fit -w study --recipe best", 'recipe must be one of auto, few, paper, got "best"'),
    ("fit -w study --recipe few --epochs 3", 'epochs must be omitted with recipe "few"'),
    ("baselines -w missing", "missing is not a workspace"),
    ("export -w missing", "missing is not a workspace"),
    ("report -w missing", "missing is not a workspace"),
    ("report -w study --output letter.html", "letter.html must be a new file or a page written by ildfv"),
    ("verify -w missing", "missing is not a workspace"),
    ("stats -w missing", "missing is not a workspace"),
    ("folds -w missing", "missing is not a workspace"),
    ("view missing", "missing must exist"),
    ("prepare missing -w new", "scans must be an existing folder or file, got missing, which does not exist"),
    ("texture classify missing", "must be a folder with one folder per class, got a path that is not a folder"),
    ("texture classify scan --head tree", "head must be auto or one of regression, logistic, svm, got 'tree'"),
    ("texture classify scan --page letter.html", "letter.html must be a new file or a page of `ildfv texture`"),
    ("texture predict missing scan", "missing must be a folder that `ildfv texture classify --model` wrote"),
    ("texture encode missing --out out", "missing must be an image or a folder of images"),
    ("demo new --device tpu", 'device must be auto, cpu, cuda or cuda:i, got "tpu"'),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a workspace without slices, a predictor without content, and a folder of other files."""
    root = tmp_path_factory.mktemp("cheap")
    (root / "study").mkdir()
    (root / "study/workspace.toml").write_text('format = 1\nversion = "0"\nsalt = "0123456789abcdef"\n')
    for name, version in (("predictor", 2), ("old", 1)):
        (root / name).mkdir()
        (root / name / "predictor.json").write_text(json.dumps({"kind": "ildfv predictor", "version": version}))
        (root / name / "predictor.safetensors").write_bytes(b"")
    (root / "scan").mkdir()
    (root / "letter.html").write_text("<p>a letter</p>")
    return root


@pytest.fixture(scope="module")
def ended(place):
    """By command: (exit code, standard output, the error without line breaks, the slow packages that are loaded).

    One process runs all commands: a package that one of them loads is in the result of each later one.
    """
    lines, before = [*[line for line, _ in CASES], DOCUMENT], sorted(place.rglob("*"))
    command = [sys.executable, "-c", RUN.format(slow=SLOW), json.dumps(lines)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(place.rglob("*")) == before  # nothing was written
    return dict(zip(lines, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("line", "message"), CASES)
def test_a_wrong_path_or_option_is_reported_before_slow_imports(ended, line, message):
    code, _, error, loaded = ended[line]
    assert code in (1, 2)
    assert message in error
    assert loaded == []


def test_a_missing_scan_gives_the_same_document_as_any_scan_that_cannot_be_read(ended):
    code, found, _, loaded = ended[DOCUMENT]
    assert (code, loaded) == (1, [])
    reason = "scans must be an existing folder or file, got missing, which does not exist"
    assert json.loads(found) == {"answers": [], "failed": [{"source": "missing", "reason": reason}]}
