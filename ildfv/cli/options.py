"""Options that several commands share, spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Workspace = Annotated[
    Path, typer.Option("--workspace", "-w", help="Folder in which this investigation lives.", show_default="here")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="More detail; -vv with tracebacks.")]
MOST = 2**32 - 1  # as NumPy and scikit-learn take seeds
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0, max=MOST)]
OwnSeed = Annotated[int | None, typer.Option(help="Seed.", min=0, max=MOST, show_default="the workspace's")]
Fold = Annotated[int, typer.Option(help="The held-out fold: never trained on, only tested.", min=0)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")]
Workers = Annotated[int | None, typer.Option(help="Processes.", min=1, show_default="all cores")]
HERE = Path(".")
