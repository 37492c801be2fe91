"""Options shared by several commands, with one name and one help text each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ildfv.cli import completion

Workspace = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        help="Folder of the study.",
        show_default="current folder",
        autocompletion=completion.workspaces,
    ),
]
EncodedLayer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        help="Layer of the encoding.",
        show_default="layer of the newest encoding",
        autocompletion=completion.encoded_layers,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Print more detail; -vv also prints tracebacks.")
]
MAX_SEED = 2**32 - 1  # largest seed that NumPy and scikit-learn accept
Seed = Annotated[int, typer.Option(help="Random seed.", min=0, max=MAX_SEED)]
OwnSeed = Annotated[
    int | None, typer.Option(help="Random seed.", min=0, max=MAX_SEED, show_default="seed of the workspace")
]
Fold = Annotated[int, typer.Option(help="Held-out fold, used only for testing.", min=0)]
OwnFold = Annotated[int | None, typer.Option(help="Held-out fold.", min=0, show_default="fold of the newest encoding")]
Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda or cuda:i.")]
Patience = Annotated[
    int | None,
    typer.Option(
        help="Stop if the mean AUC of validation patients has not improved for N epochs, and keep the best epoch.",
        metavar="N",
        min=1,
        show_default="train all epochs, and keep the last one",
    ),
]
Workers = Annotated[int | None, typer.Option(help="Number of worker processes.", min=1, show_default="all cores")]
HERE = Path(".")
Region = Annotated[str, typer.Option(help="Region whose descriptors are pooled: slice, body or lung.")]
EncodedRegion = Annotated[str, typer.Option("--region", help="Region of the layer in --layer: slice, body or lung.")]
Series = Annotated[
    str | None,
    typer.Option(
        help="Number or SeriesInstanceUID of the series to use if a folder has several.",
        show_default="the series with the most slices",
    ),
]
RIDGE_PENALTY = "a number, or auto to choose it on validation patients"  # values of --ridge, for the help
FrozenWeights = Annotated[
    list[Path] | None,
    typer.Option(
        "--weights",
        help="Safetensors file with the weights of the frozen network of the encoding. Not needed for "
        "efficientnet-lite0 with `ildfv[pretrained]`.",
    ),
]
Bags = Annotated[
    str | None,
    typer.Option(
        help="With labels of scans: how slice scores are pooled into a scan score, noisy-or or max.",
        show_default="noisy-or",
    ),
]


def present_from(default: str) -> Any:
    """Option for T, the extent from which a pattern is present. The help shows `default` as its default."""
    return typer.Option(
        help="Minimum extent T of a pattern that counts as present: a number of pixels, or a percentage of the lung "
        "pixels of the slice, such as 5%.",
        metavar="T",
        show_default=default,
    )


def fresh(result: str) -> Any:
    """Option --fresh/--resume for an existing `result`, such as "the encoding", that was made with other settings."""
    return typer.Option(
        "--fresh/--resume",
        help=f"If {result} has other settings, --fresh deletes it and --resume stops with an error.",
    )
