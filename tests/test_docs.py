"""Links lead to files and anchors, every public name has a reference, and the site builds without a warning."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)?(#[^)\s]+)?\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
TARGET = re.compile(r"^\(([\w-]+)\)=$", re.MULTILINE)  # an explicit anchor of MyST
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
LARGEST = 150_000  # bytes of a picture


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and MyST give to the headings of a page, and those that it declares."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {"#" + slug.strip().replace(" ", "-") for slug in slugs} | {f"#{name}" for name in TARGET.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings(page):
    for name, anchor in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {name}, which does not exist"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {name}{anchor}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_show_only_the_output_of_the_command(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if re.match(r"\[rc \d|DONE$|(real|user|sys)\t", line)]


def test_a_wrong_anchor_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("(faq-own)=\n### Is it so?\n\n```\n# no heading\n```\n")
    assert anchors(page) == {"#faq-own", "#is-it-so"}


def test_explicit_anchors_are_unique_over_all_pages():
    found = [name for page in PAGES for name in TARGET.findall(page.read_text(encoding="utf-8"))]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures_have_a_description_and_are_small(page):
    for description, name in PICTURE.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        assert len(description) > 20, f"{page.name}: {name} needs a description"
        assert (page.parent / name).stat().st_size <= LARGEST, (
            f"{page.name}: {name} must have at most {LARGEST:,} bytes"
        )


@pytest.mark.parametrize("package", ["ildfv", "ildfv.nn", "ildfv.inference", "ildfv.texture"])
def test_every_public_name_has_a_reference(package):
    if package != "ildfv":
        pytest.importorskip("torch")
    page = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    listed = page.partition(f".. currentmodule:: {package}\n")[2].partition("currentmodule")[0].split()
    names = import_module(package).__all__
    assert names
    assert [name for name in names if name not in listed and f"`{package}.{name}`" not in page] == []


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    for name in ("sphinx", "myst_parser", "numpydoc", "furo"):
        pytest.importorskip(name)
    line = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", ROOT / "docs", tmp_path]
    built = subprocess.run(line, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    assert "posterior" in (tmp_path / "mathematics.html").read_text(encoding="utf-8")
