"""Every option that a message names exists, and a message of `fit` names the command whose option it is."""

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

from ildfv.cli.app import app

ROOT = Path(__file__).parents[2]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
OTHER_PROGRAMS = {"--force-reinstall", "--index-url"}  # of pip
# Modules whose messages `fit` shows, and the messages that it cannot cause, because it does not have these options.
SHOWN_BY_FIT = [
    *("ildfv/pipeline/encode.py", "ildfv/pipeline/mixture.py", "ildfv/pipeline/regress.py", "ildfv/pipeline/train.py"),
    *("ildfv/pipeline/heads.py", "ildfv/evaluation/stratified_folds.py", "train/run.py", "train/settings.py"),
    *("ildfv/estimators/mixture_warnings.py", "ildfv/pipeline/frozen.py", "ildfv/pipeline/recipes.py"),
]
NOT_BY_FIT = (
    "--components must be at most",
    "needs no network, got --",
    "which is frozen, got --model",
    "weights must be given together with their network",
    "needs a layer, got none: add --layer",
    "layer must be a single layer with head linear",
    "layer_decay must be 1 for random initial weights",
    "--folds must",  # states the rule; the remedy names the command
    " --region {}",  # part of a command
    "ildfv encode --layer {}",  # a command that the message quotes
)


def options():
    """{command: its options}."""
    found = {}
    for name, command in get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        every = {name: command} if inner is None else {f"{name} {k}": one for k, one in inner.items()}
        for full, one in every.items():
            found[full] = {flag for p in one.params for flag in (*p.opts, *p.secondary_opts)} | {"--help"}
    return found


def messages(path):
    """(line, text) of every string of a file; {} replaces the values of an f-string."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


@pytest.fixture(scope="module")
def texts():
    paths = sorted([*ROOT.glob("ildfv/**/*.py"), *ROOT.glob("train/**/*.py")])
    return [(path.relative_to(ROOT).as_posix(), *one) for path in paths for one in messages(path)]


def test_every_option_in_a_message_exists(texts):
    known = set().union(*options().values()) | OTHER_PROGRAMS | {"--install-completion", "--version"}
    unknown = [(path, line, flag) for path, line, text in texts for flag in set(OPTION.findall(text)) - known]
    assert unknown == []


def test_every_option_of_a_quoted_command_is_an_option_of_it(texts):
    by_command, wrong, quoted = options(), [], 0
    for path, line, text in texts:
        for code in re.findall(r"`([^`]+)`", text):
            words = code.removeprefix("ildfv ").split()
            name = next((n for n in (" ".join(words[:2]), words[0] if words else "") if n in by_command), None)
            if name is not None:
                quoted += 1
                wrong += [(path, line, flag) for flag in set(OPTION.findall(code)) - by_command[name]]
    assert wrong == []
    assert quoted > 100


def test_remedies_that_fit_shows_are_its_options_or_name_their_command(texts):
    own, wrong = options()["fit"], []
    for path, line, text in texts:
        bare = re.sub(r"`[^`]+`", "", text)
        if path in SHOWN_BY_FIT and not any(part in text for part in NOT_BY_FIT):
            wrong += [(path, line, flag, bare[:80]) for flag in set(OPTION.findall(bare)) - own]
    assert wrong == []
