"""No page is written without escaping the characters that change how its text appears."""

import ast
from pathlib import Path

import pytest

import ildfv
from ildfv.inference.gallery import Group, gallery

PACKAGE = Path(ildfv.__file__).parent
HIDDEN = "\u202egnp.x\u202c \x1b[2J \u2066 \u200b"


def called(path: Path) -> set[str]:
    """Names of the functions and methods that a module calls."""
    functions = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    names = (getattr(function, "attr", getattr(function, "id", "")) for function in functions)
    return set(names)


RENDERING = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.py")
    if "template" in path.read_text("utf-8") and "render" in called(path)
)


def test_the_modules_that_render_pages_are_found():
    assert {"report/page.py", "inference/page.py"} <= set(RENDERING)


@pytest.mark.parametrize("module", RENDERING)
def test_every_page_passes_through_the_filter(module):
    assert "printable_page" in called(PACKAGE / module)


def test_a_gallery_shows_marks_escaped():
    page = gallery(HIDDEN, [HIDDEN], [Group(HIDDEN, text=HIDDEN)], phantom=True)
    assert not set(HIDDEN) & {c for c in page if not c.isprintable()}
    assert page.count(r"\u202egnp.x\u202c \x1b[2J \u2066 \u200b") >= 4
