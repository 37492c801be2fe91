"""The commands in the order of `ildfv --help`, which begins with the commands that a new user needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Annotated

import typer

from ildfv import distributed
from ildfv.cli import (
    data,
    evaluation,
    experiments,
    export,
    few,
    learning,
    machine,
    output,
    prediction,
    prepare,
    similar,
    texture,
    train,
    view,
)
from ildfv.cli.quoted import with_workspace
from ildfv.errors import check, naming_missing_extra

RANKS = ("train", "encode", "regress")  # commands that torchrun may start on several ranks

app = typer.Typer(
    name="ildfv",
    help="Detect patterns of lung disease in whole CT slices, with a CNN or with Fisher vectors of local "
    "descriptors.\n\n"
    "- If you have no scans, `ildfv demo` runs all steps on generated phantoms.\n"
    "- If you have a predictor, `ildfv predict SCAN -p PREDICTOR` predicts the patterns of a new scan.\n"
    "- If you have labelled scans, `prepare`, `fit` and `export` create a predictor.\n\n"
    "`ildfv COMMAND --help` shows an example of each command.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
PANELS: dict[str, tuple[Callable, ...]] = {
    "First steps": (
        prediction.predict,
        evaluation.demo,
        prepare.prepare,
        few.fit,
        export.export,
        view.view,
    ),
    "A study, step by step": (
        data.phantom,
        data.stats,
        data.folds,
        train.train,
        learning.encode,
        learning.regress,
        few.baselines,
        evaluation.report,
    ),
    "Evidence": (similar.similar, similar.components),
    "The paper": (experiments.experiment,),
    "Checks": (machine.doctor, machine.verify),
}


def _version(wanted: bool) -> None:
    if wanted:
        from ildfv.version import __version__

        typer.echo(f"ildfv {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    name = context.invoked_subcommand
    ranks = distributed.size()
    check(
        ranks == 1 or name in RANKS,
        f"{name} must run in one process, got {ranks} ranks: start it without torchrun "
        f"(only {', '.join(RANKS)} can be distributed)",
    )


WITH_WORKSPACE = with_workspace([command for commands in PANELS.values() for command in commands])


def _with_messages(command: Callable) -> Callable:
    """`command`, whose messages quote commands with its workspace, and name the extra if one is not installed."""

    @wraps(command)
    def run(**options):
        output.quoted.use(options.get("workspace"), WITH_WORKSPACE)
        with naming_missing_extra(f"`ildfv {command.__name__}`"):
            return command(**options)

    return run


for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(_with_messages(command))

for command in texture.COMMANDS:
    texture.app.command()(_with_messages(command))
app.add_typer(texture.app, name="texture", rich_help_panel="Other images")
