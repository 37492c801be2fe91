"""Numbers with nouns in messages."""

import ast
import re
from pathlib import Path

import pytest

from ildfv.counted import counted

SOURCES = Path(__file__).parents[1]
NOUNS = re.compile(r" (\w+ )?(patients|slices|scans|folds|files|layers|descriptors|components|dimensions|objects)\b")
# Numbers that are never 1, or that are followed by a noun of another number, as in "1 of 5 objects".
NEVER_ONE = {
    *(
        "ENOUGH",
        "ENOUGH_PATIENTS",
        "FEWEST",
        "MAX_FILES",
        "MIN_PATIENTS",
        "RIGHT",
        "SLICES",
        "TIMED",
        "WRONG",
        "before",
        "after",
        "most",
    ),
    *(
        "info.training['folds']",
        "folds.n_folds",
        "self.folds",
        "self.folds.n_folds",
        "self.preset.folds",
        "n_patients",
        "n_frames",
    ),
    *("scan.patients_in_study", "paper.text('patients')", "paper.text('slices')", "preset.components"),
    *("preset.dimensions", "len(instances)", "len(frames)", "len(sample)", "len(names)", "len(self._hu)", "of"),
    *("k", "d", "expected", "len(overall)"),  # of arrays, in messages about their shapes
    *("rule", "folder", "patient", "scan", "missing", "encoding", "data", "self.encoding.folder", "name"),  # words
    "len(chosen)",  # at least 2 sampled slices
    "len(scans)",  # two volume files or more
    "len(found)",  # more files than are named one by one
}


@pytest.mark.parametrize(("n", "text"), [(0, "0 passes"), (1, "1 pass"), (2, "2 passes"), (1200, "1,200 passes")])
def test_the_noun_agrees_with_the_number(n, text):
    assert counted(n, "pass", "passes") == text
    assert counted(n, "slice") == text.replace("passes", "slices").replace("pass", "slice")


def test_messages_count_patients_slices_and_scans_with_counted():
    found = []
    for path in sorted([*SOURCES.glob("ildfv/**/*.py"), *SOURCES.glob("train/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found += [f"{path.relative_to(SOURCES)}:{node.lineno}: {one}" for one in plurals(node)]
    assert found == []


def plurals(text: ast.JoinedStr) -> list[str]:
    """The numbers of an f-string that a plural noun follows, whatever the number is."""
    found = []
    for value, after in zip(text.values, text.values[1:], strict=False):
        if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
            number = ast.unparse(value.value)
            never_one = number in NEVER_ONE or number.startswith("counted(")
            if NOUNS.match(str(after.value)) and not never_one:
                found.append(number + str(after.value)[:20])
    return found


def test_a_plural_after_a_number_is_found():
    (call,) = ast.parse('f"{n_test} test slices of {n_layers} layers"').body
    assert plurals(call.value) == ["n_test test slices of ", "n_layers layers"]
