"""Command `view`: shows scans, predictions or a workspace in a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.errors import check
from ildfv.inference.predictor_location import predictor_content


def view(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="A workspace, or scans, zip archives of scans and folders that `ildfv predict` wrote.",
            show_default="current folder",
        ),
    ] = None,
    codes: Annotated[
        str | None,
        typer.Option(
            help="TOML table of the label codes, or the name of a built-in table, to show label maps of scans.",
            show_default="none",
        ),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(help="CSV file for corrected labels.", show_default="corrections.csv in the workspace"),
    ] = None,
    predictor: Annotated[
        Path | None,
        typer.Option(
            "--predictor", "-p", help="Predictor that computes contribution maps of a workspace.", show_default="none"
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=0, max=65535, show_default="any free port")] = 0,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """View scans, predictions or a workspace in a browser on this machine. Research use only.

    Prints an address with a token, and serves the page on 127.0.0.1 until Ctrl-C. Needs neither a GPU nor a network
    connection. Reads only the given paths, and writes only corrections.

    Example: `ildfv view answers/scan-0cab05cf47 /data/scan`
    """
    for path in paths or []:
        check(path.exists(), f"{path} must exist: give a workspace, a scan, or a folder that `ildfv predict` wrote")
    if predictor is not None:
        predictor_content(predictor)

    from ildfv.viewer.serve import serve
    from ildfv.viewer.study import open_study

    study = open_study(
        paths or [o.HERE],
        codes=codes,
        corrections=corrections,
        predictor=predictor,
        progress=output.progress(verbose),
    )
    with study:

        def ready(address: str) -> None:
            result = {"address": address, "mode": study.mode, "scans": len(study.scans)}
            if not output.emit(result, as_json=as_json):
                output.out.print(f"{study.title}. Research use only.\nOpen {address}\nStop with Ctrl-C.")
            sys.stdout.flush()

        serve(study, port=port, ready=ready)
