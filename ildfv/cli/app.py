"""The commands, in the order in which an investigation uses them."""

from __future__ import annotations

from typing import Annotated

import typer

from ildfv import distributed
from ildfv.cli import data, evaluation, experiments, learning, machine
from ildfv.errors import check

RANKS = ("train", "encode", "regress")  # what several processes or machines share the work of

app = typer.Typer(
    name="ildfv",
    help="Interstitial lung disease patterns on whole CT slices: Fisher vectors of CNN activations beside the CNN.\n\n"
    "The path: phantom (or your own scans) → prepare → folds → train → encode → regress → report.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from ildfv.version import __version__

        typer.echo(f"ildfv {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")] = False,
) -> None:
    name = context.invoked_subcommand
    ranks = distributed.size()
    check(
        ranks == 1 or name in RANKS,
        f"{name} must run in one process, got {ranks} ranks: start it without torchrun; {', '.join(RANKS)} take ranks",
    )


for module in (data, learning, evaluation, experiments, machine):
    for command, panel in module.COMMANDS:
        app.command(rich_help_panel=panel)(command)
