"""Command `experiment`: the tables and figures of the paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ildfv.cli import completion, output
from ildfv.cli import options as o

if TYPE_CHECKING:
    from ildfv.evaluation.documents import Comparison
    from ildfv.evaluation.tables import Cell, Table

MEASURES = "Below each measure: its 95 % interval from resampled patients, and ± the standard deviation over folds."
TESTS = (
    "Differences with 95 % intervals from resampled patients, and p values of a permutation test over patients, not "
    "corrected for multiple comparisons."
)
TESTED = {"f": "F", "macro_f": "macro F", "mean_auc": "mean AUC"}

NAMES = typer.Argument(help="Experiments, or all.", show_default=False)
NETWORKS = typer.Option(
    help='Additional network for the experiment "networks": torchvision:NAME or timm:NAME; repeatable.',
    show_default=False,
)
OTHER = typer.Option(
    help='Another workspace, on which the experiment "transfer" tests the systems of this workspace.',
    show_default="none, or another set of phantoms if phantoms are generated",
)
RIDGE = typer.Option(help=f"Ridge penalty of linear regressions: {o.RIDGE_PENALTY}.")
SPACE = typer.Option(
    "--workspace",
    "-w",
    help="Folder of the study.",
    show_default="current folder, or generated phantoms if it is not a workspace",
    autocompletion=completion.workspaces,
)


def experiment(
    names: Annotated[list[str] | None, NAMES] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the experiments and the tables and figures that they reproduce.")
    ] = False,
    preset: Annotated[
        str,
        typer.Option(
            help='small (all steps on little data), medium (200 patients, for the experiment "growth" on a CPU) or '
            "paper (five folds, on a GPU)."
        ),
    ] = "small",
    workspace: Annotated[Path | None, SPACE] = None,
    network: Annotated[list[str] | None, NETWORKS] = None,
    lungs: Annotated[str, typer.Option(help="Lung masks of the patch baseline: rule or lungmask.")] = "rule",
    ridge: Annotated[str, RIDGE] = "auto",
    other: Annotated[Path | None, OTHER] = None,
    device: o.Device = "auto",
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Run the experiments of the paper and compare the results with its numbers. Experiments share trained networks.

    Resumes an interrupted run. Writes JSON and CSV to results/experiments/, and the page experiments.html.

    Example: `ildfv experiment losses --preset small`
    """
    from ildfv.evaluation.tables import Estimate
    from ildfv.experiments.presets import preset_named
    from ildfv.experiments.registry import experiments
    from ildfv.experiments.run import run_experiments

    if listed or not names:
        known = [{"name": e.name, "title": e.title, "paper": e.paper} for e in experiments().values()]
        if not output.emit({"experiments": known}, as_json=as_json):
            rows = [(e["name"], e["title"], e["paper"] or "not in the paper") for e in known]
            output.table(
                "Experiments",
                ["name", "title", "in the paper"],
                rows,
                caption="`ildfv experiment all` runs all of them",
            )
        return
    extent = preset_named(preset)
    # Networks that are already part of the preset keep the settings of the preset.
    further: dict[str, dict] = {name: {} for name in network or () if name != extent.network}
    result = run_experiments(
        names,
        preset=replace(extent, lungs=lungs, ridge=ridge, networks={**further, **extent.networks}),
        workspace=workspace,
        other=other,
        device=device,
        progress=output.progress(verbose, workspace=workspace or Path(".")),
    )
    if output.emit(result, as_json=as_json):
        return
    for document in result["experiments"]:
        warning = " – PHANTOM data, not clinical" if document.data == "phantom" else ""
        for table in document.tables:
            columns, cells = shown(table)
            measures = any(isinstance(cell, Estimate) for row in table.rows for cell in row)
            note = f"{table.note} {MEASURES if measures else ''}".strip()
            output.table(table.title + warning, columns, cells, caption=note or None)
        if document.comparisons:
            output.table("Differences, paired by patient" + warning, *tested(document.comparisons), caption=TESTS)
        for note in document.notes:
            output.prose(note, style="dim italic")
    output.out.print(
        f"Results in {result['workspace']}/results/experiments. Open the page: {result['page']}", soft_wrap=True
    )


def shown(table: Table) -> tuple[list[str], list[list]]:
    """Columns and rows that fit a terminal. Source and data are below the first cell, intervals are below measures."""
    columns, rows = list(table.columns), [[_cell(value) for value in row] for row in table.rows]
    if columns[1:3] == ["source", "data"]:
        columns = [columns[0], *columns[3:]]
        labels = ["", *(row[0] for row in rows)]  # omitted if the row above, with the paper's values, has the same one
        rows = [
            [f"{row[0]}\n  {row[1]}, {row[2]}" if row[0] != above else f"  {row[1]}, {row[2]}", *row[3:]]
            for above, row in zip(labels, rows, strict=False)
        ]
    return [columns[0], *(name.replace(" ", "\n") for name in columns[1:])], rows


def tested(comparisons: list[Comparison]) -> tuple[list[str], list[list]]:
    """Columns and rows of comparisons. A cell has the difference, its interval and its p value on separate lines."""
    rows = []
    for one in comparisons:
        row = [f"{one.a}\n  minus {one.b}"]
        for measure in TESTED:
            test = one.tests[measure]
            lines = [output.cell(test.difference)]
            if test.interval:
                lines.append(" to ".join(f"{end:.2f}" for end in test.interval))
            row.append("\n".join([*lines, f"p {output.cell(test.p)}"]))
        rows.append(row)
    return ["systems", *TESTED.values()], rows


def _cell(value: Cell):
    """A measure as text, with its interval and its standard deviation on separate lines; other values are unchanged."""
    from ildfv.evaluation.tables import Estimate

    if not isinstance(value, Estimate):
        return value
    lines = [output.cell(value.value)]
    if value.interval:
        lines.append("–".join(f"{end:.2f}".removeprefix("0") for end in value.interval))
    if value.sd is not None:
        lines.append(f"±{value.sd:.2f}".replace("±0", "±"))
    return "\n".join(lines)
