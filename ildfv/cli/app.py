"""The commands, in the order in which an investigation uses them."""

from __future__ import annotations

from typing import Annotated

import typer

from ildfv.cli import data, evaluation, experiments, learning, machine

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
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")] = False,
) -> None:
    pass


for module in (data, learning, evaluation, experiments, machine):
    for command, panel in module.COMMANDS:
        app.command(rich_help_panel=panel)(command)
