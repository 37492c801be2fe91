"""The Python blocks of README.md and docs/ run, page by page; the program accepts every `ildfv …` in these pages."""

from contextlib import chdir
from pathlib import Path

import pytest
from docs_code import PAGES, ROOT, blocks, commands, mentions, parse, scripts

# Blocks that are not run, by page. A new one needs a reason in its comment and an entry here.
NOT_RUN = {"docs/prediction.md": 1}
# What a page's first block takes for granted.
SETUP = {
    "README.md": """
import numpy as np
rng = np.random.default_rng(0)
batches = [rng.normal(size=(2000, 8)).astype("float32") for _ in range(3)]
maps = rng.normal(size=(40, 50, 8)).astype("float32")
y = rng.normal(size=(40, 4))
""",
    "docs/textures.md": """
import numpy as np
import torch
from PIL import Image
rng = np.random.default_rng(0)
paths, labels, subjects = [], [], []
for i in range(12):
    period = (0.5, 1.5)[i % 2]
    image = 128 + 50 * np.sin(np.arange(48) * period)[:, None] + 10 * rng.normal(size=(48, 48))
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(f"{i}.png")
    paths.append(f"{i}.png"); labels.append("ab"[i % 2]); subjects.append(i // 4)
Image.open("0.png").save("new.png")
backbone, n_classes = torch.nn.Conv2d(3, 256, 3), 2
""",
}


def identifier(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run_page(page: Path, folder: Path, *, slow: bool) -> int:
    """Runs the blocks of a page in one namespace, and returns their number."""
    names: dict = {"__name__": "__main__"}
    ran = 0
    with chdir(folder):
        exec(SETUP.get(identifier(page), ""), names)
        for block in blocks(page):
            if block.is_run and (slow or block.mark != "slow"):
                # Line numbers of a traceback are those of the page.
                exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
                ran += 1
    return ran


def with_code(*, slow: bool) -> list[Path]:
    found = []
    for page in PAGES:
        runnable = [block for block in blocks(page) if block.is_run]
        if runnable and slow == any(block.mark == "slow" for block in runnable):
            found.append(page)
    return found


@pytest.mark.parametrize("page", with_code(slow=False), ids=identifier)
def test_python_blocks_run(page, tmp_path):
    pytest.importorskip("torch")
    assert run_page(page, tmp_path, slow=False) > 0


@pytest.mark.slow
@pytest.mark.parametrize("page", with_code(slow=True), ids=identifier)
def test_slow_python_blocks_run(page, tmp_path):
    pytest.importorskip("torch")
    assert run_page(page, tmp_path, slow=True) > 0


def test_blocks_that_are_not_run_are_counted():
    found = {}
    for page in PAGES:
        for block in blocks(page):
            if block.language == "python" and not block.is_run:
                assert block.mark.removeprefix("not run: ").strip(), f"{page.name}, line {block.line} needs a reason"
                found[identifier(page)] = found.get(identifier(page), 0) + 1
    assert found == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_marks_are_known(page):
    for block in blocks(page):
        known = block.mark in ("", "slow") or block.mark.startswith("not run: ")
        assert known, f"{page.name}, line {block.line}: unknown mark {block.mark!r}"


def refused(arguments: list[str]) -> str:
    """Why the command line refuses the arguments, "" if it accepts them."""
    try:
        parse(arguments)
    except Exception as error:
        if not hasattr(error, "format_message"):  # only usage errors have it, in every version of typer and click
            raise
        return error.format_message()
    return ""


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=identifier)
def test_commands_are_accepted_by_the_command_line(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans.csv").touch()  # the only file that must exist when options are parsed
    found = {" ".join(arguments): refused(arguments) for arguments in commands(page)}
    assert {line: reason for line, reason in found.items() if reason} == {}


@pytest.mark.parametrize("page", [page for page in PAGES if mentions(page)], ids=identifier)
def test_commands_and_options_in_the_text_exist(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {" ".join(arguments): refused(arguments) for arguments in mentions(page)}
    assert {line: reason for line, reason in found.items() if reason.startswith("No such")} == {}


def test_a_command_with_an_unknown_option_is_noticed():
    assert "--nosuch" in refused(["predict", "scan", "--predictor", "p", "--nosuch"])
    assert "nosuch" in refused(["nosuch"])


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_scripts_exist(page):
    assert [str(path) for path in scripts(page) if not path.exists()] == []


def test_every_page_is_in_the_table_of_contents():
    listed = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").split()
    assert [page.stem for page in PAGES[1:] if page.stem not in (*listed, "index")] == []
