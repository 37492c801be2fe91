"""The code blocks of README.md and docs/: Python to run, and lines of the shell to parse.

A comment before a block, `<!-- not run: REASON -->` or `<!-- slow -->`, applies to that block.
"""

import io
import re
import shlex
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import typer

from ildfv.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*) -->\n\n?)?^```(?P<language>[\w-]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
SHELL = ("", "bash", "console", "yaml")
INLINE = re.compile(r"(?<!`)`(ildfv [^`]+)`(?!`)")
STARTS = re.compile(r"(ildfv|(srun )?torchrun .*|([A-Z_]+=\S+ )+ildfv|(podman|docker) run .*\bildfv)\b")
END = ("|", ">", "&&", ";", "&")  # of the arguments of a command


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. mark: the comment before it, "" without one. line: of its first line of code."""

    page: Path
    line: int
    language: str
    code: str
    mark: str

    @property
    def is_run(self) -> bool:
        return self.language == "python" and not self.mark.startswith("not run: ")


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of the page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: found.start("code")].count("\n") + 1, found["language"], found["code"], found["mark"] or "")
        for found in BLOCK.finditer(text)
    ]


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `ildfv …` in the blocks of the shell."""
    lines = []
    for block in blocks(page):
        if block.language in SHELL:
            lines += block.code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := _arguments(line)) is not None]


def mentions(page: Path) -> list[list[str]]:
    """The arguments of every `ildfv …` in the text, which may lack some."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    lines = [" ".join(found.split()) for found in INLINE.findall(text) if "…" not in found and "|" not in found]
    return [words for line in lines if (words := _arguments(line)) is not None]


def scripts(page: Path) -> list[Path]:
    """The files that `python FILE` and `python -m MODULE` in the blocks of the shell run, of this repository."""
    found = []
    for block in blocks(page):
        if block.language in SHELL:
            found += [ROOT / name for name in re.findall(r"python (\S+\.py)", block.code)]
            found += [ROOT / (name.replace(".", "/") + ".py") for name in re.findall(r"-m (bench\.\w+)", block.code)]
    return found


def _arguments(line: str) -> list[str] | None:
    """The words after `ildfv`, or None if the line is not a command of ildfv."""
    line = line.strip().removeprefix("$ ")
    if not STARTS.match(line):
        return None
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # an apostrophe in the output of a command
        return None
    if "ildfv" not in words:
        return None
    words = words[words.index("ildfv") + 1 :]
    ends = [i for i, word in enumerate(words) if word in END or word.startswith(("2>", ">"))]
    return words[: ends[0]] if ends else words


def parse(arguments: list[str]) -> None:
    """Parses the arguments as `ildfv` does, without running the command. Raises a usage error of the command line."""
    command = typer.main.get_command(app)
    _do_nothing(command)
    with redirect_stdout(io.StringIO()):
        command.main(args=list(arguments), prog_name="ildfv", standalone_mode=False)


def _do_nothing(command) -> None:
    """Replaces the functions of the command and of its commands."""
    command.callback = lambda *arguments, **options: None
    for option in command.params:
        if "--install-completion" in option.opts or "--show-completion" in option.opts:
            option.callback = None  # it runs while the command line is parsed, and writes to the home folder
    for inner in getattr(command, "commands", {}).values():
        _do_nothing(inner)
