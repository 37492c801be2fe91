"""Commands `fit`, which fits and evaluates systems on all folds, and `baselines`, which scores the baselines."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.cli.early import check_study
from ildfv.pipeline.choices import check_recipe


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
    from ildfv.cli.pooled_tables import stacked
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
    headings = ["system", "fold", *map(stacked, PATTERNS)]
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
    fresh: Annotated[bool, o.fresh("an encoding or the network")] = False,
    device: o.Device = "auto",
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Fit and evaluate all systems of a recipe on all folds, with the baselines, and print pooled results.

    Creates the folds if there are none. An interrupted run is resumed, and finished results are kept if their settings
    and inputs are unchanged.

    Example: `ildfv fit -w study --recipe few`
    """
    check_study(workspace, device)
    check_recipe(recipe, epochs, patience)
    from ildfv.cli.pooled_tables import best_system, show
    from ildfv.pipeline.recipes import fit as fit_recipe

    result = fit_recipe(
        workspace,
        recipe=recipe,
        epochs=epochs,
        patience=patience,
        device=device,
        bags=bags,
        fresh=fresh,
        progress=output.progress(verbose, workspace=workspace),
    )
    if output.emit(result, as_json=as_json):
        return

    show(result, with_inputs=verbose > 0)
    best = best_system(result)
    study = quote(str(workspace))
    output.out.print(f"Next: ildfv report -w {study}")
    if best is not None:
        output.out.print(f"and:  ildfv export -w {study} --system {best} --all-patients --out my-predictor")
