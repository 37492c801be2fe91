"""Commands `report`, the results on one page, and `demo`, the whole pipeline on phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.cli.early import check_study
from ildfv.pipeline.devices import check_name
from ildfv.report.page_file import check_page
from ildfv.store.outputs import check_folder


def report(
    workspace: o.Workspace = o.HERE,
    to: Annotated[
        Path | None, typer.Option("--output", help="HTML file.", show_default="report.html in the workspace")
    ] = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Write one self-contained HTML page with data, scores with intervals, curves, example slices and settings.

    Example: `ildfv report`
    """
    check_study(workspace)
    check_page(workspace / "report.html" if to is None else to)
    from ildfv.pipeline.report import make_report

    result = make_report(workspace, to)
    if not output.emit(result, as_json=as_json):
        for note in result["notes"]:
            output.prose(f"note: {note}")
        output.out.print(f"Report: {result['report']}", soft_wrap=True)


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for the phantoms and the workspace.")] = Path("demo"),
    patients: Annotated[int, typer.Option(help="Number of phantom patients.", min=10)] = 42,
    seed: o.Seed = 0,
    layers: Annotated[str, typer.Option(help="Layers to encode, separated by commas.")] = "conv1,conv5",
    device: o.Device = "auto",
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Run the whole pipeline on phantoms, write a report, and predict a new phantom. Resumes an interrupted run.

    Example: `ildfv demo`
    """
    check_name(device)
    check_folder(folder)
    from ildfv.pipeline.demo import run_demo

    result = run_demo(
        folder,
        patients=patients,
        seed=seed,
        layers=tuple(layer.strip() for layer in layers.split(",") if layer.strip()),
        device=device,
        progress=output.progress(verbose, workspace=folder / "workspace"),
    )
    if output.emit(result, as_json=as_json):
        return
    rows = [
        (
            r.system,
            pattern,
            output.with_interval(*row.estimate("f")),
            output.with_interval(*row.estimate("auc")),
        )
        for r in result["results"]
        for pattern, row in r.per_pattern.items()
    ]
    output.table("Held-out fold, PHANTOM data, not clinical", ["system", "pattern", "F (95 %)", "AUC (95 %)"], rows)
    output.table(
        "Time", ["step", "seconds"], [(name, round(seconds, 1)) for name, seconds in result["seconds"].items()]
    )
    output.out.print(f"Open the report: {result['report']}", soft_wrap=True)
    output.out.print(
        f"Prediction of {result['predictor']} for a phantom that was not used for fitting: {result['prediction']}",
        soft_wrap=True,
    )
