"""Commands `fit`, which fits and evaluates systems on all folds, and `baselines`, with which they are compared."""

from __future__ import annotations

from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.cli.early import check_study
from ildfv.counted import counted
from ildfv.pipeline.choices import check_recipe

AGAINST = ("system", "AUC of", "best\nbaseline", "difference\n(95 %)", "beats\nit")


def baselines(
    workspace: o.Workspace = o.HERE,
    fold: Annotated[int | None, typer.Option(help="Held-out fold.", min=0, show_default="every fold")] = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Score the baselines on held-out folds, such as LAA-950, P15, mean density, high-attenuation area and histogram.

    All baselines except the prevalence (a constant) are computed from the lung of each slice. Whether high or low
    values indicate a pattern is determined on training patients.

    Example: `ildfv baselines --fold 0`
    """
    check_study(workspace)
    from ildfv.patterns import PATTERNS
    from ildfv.pipeline.baselines import score_baselines

    results = score_baselines(workspace, fold=fold, progress=output.progress(verbose, workspace=workspace))
    if output.emit(results, as_json=as_json):
        return
    rows = [
        (r.system, r.fold, *(output.above_interval(*r.per_pattern[p].estimate("auc")) for p in PATTERNS))
        for r in results
    ]
    data = "PHANTOM data, not clinical" if results[0].data == "phantom" else "user data"
    of_scans = " per scan" if results[0].unit == "scan" else ""
    headings = ["system", "fold", *map(_stacked, PATTERNS)]
    output.table(f"Baselines, AUC{of_scans} (95 %): {data}", headings, rows)


def fit(
    workspace: o.Workspace = o.HERE,
    recipe: Annotated[
        str,
        typer.Option(
            help="few (no network is trained), paper (CNN and Fisher vectors of conv1), or auto: few for fewer than "
            "2,000 labelled slices or for labels of scans, otherwise paper."
        ),
    ] = "auto",
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs of the network, with recipe paper.", min=1)
    ] = None,
    patience: o.Patience = None,
    bags: o.Bags = None,
    device: o.Device = "auto",
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Fit and evaluate all systems of a recipe on all folds, with the baselines, and print pooled results.

    Creates the folds if there are none, and resumes an interrupted run.

    Example: `ildfv fit -w study --recipe few`
    """
    check_study(workspace, device)
    check_recipe(recipe, epochs, patience)
    from ildfv.evaluation.baselines import PREFIX
    from ildfv.pipeline.recipes import fit as fit_recipe
    from ildfv.pipeline.used_inputs import described

    result = fit_recipe(
        workspace,
        recipe=recipe,
        epochs=epochs,
        patience=patience,
        device=device,
        bags=bags,
        progress=output.progress(verbose, workspace=workspace),
    )
    if output.emit(result, as_json=as_json):
        return
    rows = [
        (
            name,
            *(output.above_interval(one["auc"][p], one["auc_interval"][p]) for p in one["auc"]),
            output.above_interval(one["mean_auc"], one["mean_auc_interval"]),
        )
        for name, one in result["systems"].items()
    ]
    data = "PHANTOM data, not clinical" if result["data"] == "phantom" else "user data"
    by_scan = result.get("unit") == "scan"
    tested = counted(result["scans"], "scan") if by_scan else counted(result["slices"], "slice")
    rule = "labels of scans, measures per scan" if by_scan else f"T = {result['threshold']}"
    output.table(
        f"Recipe {result['recipe']}, AUC{' per scan' * by_scan} (95 %): {data}",
        ["system", *map(_stacked, next(iter(result["systems"].values()))["auc"]), "mean"],
        rows,
        caption=f"{counted(len(result['folds']), 'fold')} pooled: {tested} of "
        f"{counted(result['patients'], 'patient')}, {rule}; intervals are from resampled patients",
    )
    if result["supported"] and not any(one["mean_auc_interval"] for one in result["systems"].values()):
        output.table(
            f"Mean AUC (95 %) of the patterns with enough patients: {', '.join(result['supported'])}",
            ["system", "mean"],
            [
                (name, output.above_interval(one["supported_mean_auc"], one["supported_mean_auc_interval"]))
                for name, one in result["systems"].items()
            ],
        )
    against = [
        (
            v["system"],
            v["measure"].removesuffix("_auc").removesuffix(" AUC"),
            v["baseline"].removeprefix(PREFIX),
            _difference(v["difference"], v["interval"]),
            v["outcome"],
        )
        for v in result["against_baseline"]
    ]
    output.table(
        "Against the best baseline: difference of AUC, paired by patient",
        AGAINST,
        against,
    )
    for name, inputs in result["inputs"].items():
        output.out.print(f"inputs of {name}: {described(inputs)}", soft_wrap=True)
    for note in result["notes"]:
        output.out.print(f"note: {note}", soft_wrap=True)


def _stacked(pattern: str) -> str:
    return pattern.replace(" ", "\n")


def _difference(value: float | None, interval) -> str:
    """The difference and, on a second line, its interval, such as `+0.199` above `+0.111 to +0.305`."""
    if value is None:
        return "–"
    shown = [f"{round(one, 3) + 0.0:+.3f}" for one in (value, *(interval or ()))]  # + 0.0: no "-0.000"
    return shown[0] + (f"\n{shown[1]} to {shown[2]}" if interval else "")
