"""Commands quoted in messages, completed with the workspace that the user gave.

The library does not know how a workspace was chosen, so its messages quote commands such as `ildfv folds` without
`--workspace`. A command of the command line passes its workspace to `Quoted.use`, and every message that is printed
passes through `Quoted.complete`, so that the quoted command can be copied.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from shlex import quote

from ildfv.cli.options import HERE
from ildfv.progress import Progress

# A command to run, not one that is mentioned: "the file that `ildfv folds` wrote", "the report of `ildfv prepare`".
COMMAND = re.compile(r"(?<!that )(?<!of )(?<!by )(?<!\()`ildfv ([a-z]+)([^`]*)`")
GIVEN = re.compile(r"\s(-w|--workspace)\b")


class Quoted:
    """The workspace of the running command, and the names of all commands that have a workspace."""

    def __init__(self) -> None:
        self.workspace = HERE
        self.commands: frozenset[str] = frozenset()

    def use(self, workspace: Path | None, commands: frozenset[str]) -> None:
        """Sets the workspace that quoted commands get; None or the current folder: they get none."""
        self.workspace, self.commands = workspace or HERE, commands

    def complete(self, text: str) -> str:
        """The text with `-w WORKSPACE` in each quoted command that needs it and does not name a workspace."""
        if self.workspace == HERE:
            return text

        def completed(match: re.Match) -> str:
            command, rest = match.groups()
            if command not in self.commands or GIVEN.search(rest):
                return match[0]
            return f"`ildfv {command}{rest} -w {quote(str(self.workspace))}`"

        return COMMAND.sub(completed, text)


class CompleteNotes:
    """Forwards to another `Progress`, with quoted commands in notes completed."""

    def __init__(self, shown: Progress, quoted: Quoted):
        self.shown, self.quoted = shown, quoted

    def task(self, label: str, total: int | None = None, done: int = 0):
        return self.shown.task(label, total, done)

    def note(self, text: str) -> None:
        self.shown.note(self.quoted.complete(text))


def with_workspace(commands: list[Callable]) -> frozenset[str]:
    """The names of the commands that have an option --workspace."""
    return frozenset(one.__name__ for one in commands if "workspace" in signature(one).parameters)
