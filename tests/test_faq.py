"""Errors that one line cannot explain carry a link to the FAQ, which has that anchor."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import ildfv

from ildfv.errors import FAQ, InputError, check, explained, linked
from ildfv.scans.volume import check_shares

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
ANCHORS = re.findall(r"^\(faq-([\w-]+)\)=$", PAGE, re.MULTILINE)


def used_anchors() -> dict[str, str]:
    """Anchor → file, of every `faq="…"` and every `linked(…, "…")` in the code."""
    found = {}
    for path in [*ROOT.glob("ildfv/**/*.py"), *ROOT.glob("train/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            values = [keyword.value for keyword in node.keywords if keyword.arg == "faq"]
            if isinstance(node.func, ast.Name) and node.func.id == "linked":
                values += node.args[1:]
            found |= {one.value: str(path) for one in values if isinstance(one, ast.Constant)}
    return found


def test_every_anchor_that_an_error_names_is_in_the_faq():
    used = used_anchors()
    assert len(used) >= 10
    assert {anchor: path for anchor, path in used.items() if anchor not in ANCHORS} == {}


def test_anchors_of_the_faq_are_unique_and_precede_a_question():
    assert len(ANCHORS) == len(set(ANCHORS))
    questions = re.findall(r"^\(faq-[\w-]+\)=\n### .+\?$", PAGE, re.MULTILINE)
    assert len(questions) == len(ANCHORS) == PAGE.count("\n### ")


def test_the_link_of_a_cause_is_kept_and_printed_once():
    error = InputError("label map a.nii.gz is wrong")
    error.__cause__ = InputError("codes must be listed", faq="label-codes")
    assert explained(error) == f"label map a.nii.gz is wrong. See {FAQ}label-codes"
    assert linked(explained(error), "hu") == explained(error)
    assert explained(InputError("plain")) == "plain"


def test_check_passes_the_anchor_on():
    with pytest.raises(InputError, match=r"^no$") as caught:
        check(False, "no", faq="hu")
    assert caught.value.faq == "hu"


def test_values_that_are_not_hounsfield_units_lead_to_the_faq():
    with pytest.raises(InputError, match="HU must include air or lung") as caught:
        check_shares(np.full((2, 32, 32), 40, np.int16), 40.0, 40.0)
    assert explained(caught.value).endswith(f". See {FAQ}hu")


def test_the_command_line_prints_the_link_on_the_same_line(tmp_path):
    predictor = tmp_path / "old"
    predictor.mkdir()
    (predictor / "predictor.json").write_text('{"kind": "ildfv predictor", "version": 1}')
    (predictor / "predictor.safetensors").write_bytes(b"")
    ended = ildfv("predict", tmp_path, "--predictor", predictor, "--device", "cpu")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.rstrip().endswith(f"run `ildfv export` again. See {FAQ}predictor-version")
