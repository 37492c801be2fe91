"""Command `export`, which writes a predictor."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from ildfv.cli import completion, output
from ildfv.cli import options as o
from ildfv.cli.early import check_study
from ildfv.pipeline.choices import check_region_name

BY_PARTS = "Instead of --system: select systems by the parts of their names"  # panel of `export --help`


def export(
    workspace: o.Workspace = o.HERE,
    out: Annotated[Path, typer.Option(help="Folder for the predictor.")] = Path("predictor"),
    system: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a system as printed by fit or regress; repeat the option to export several heads.",
            show_default="systems on the newest encoding",
            autocompletion=completion.systems,
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer, or several joined by +; repeat the option to export several heads.",
            rich_help_panel=BY_PARTS,
            show_default="layer of the newest encoding",
            autocompletion=completion.encoded_layers,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            help="Region of the layers: slice, body or lung.",
            show_default="slice",
            rich_help_panel=BY_PARTS,
        ),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=BY_PARTS,
            help="Regression on the Fisher vectors: linear, ridge or logistic, or the last part of a system's name, "
            "such as ridge-density-off; may be repeated.",
            show_default="all that were fitted",
        ),
    ] = None,
    bags: Annotated[
        str | None,
        typer.Option(
            help="With labels of scans: export only the heads with this pooling of slice scores, noisy-or or max.",
            rich_help_panel=BY_PARTS,
            show_default="all that were fitted",
        ),
    ] = None,
    fold: o.OwnFold = None,
    cnn: Annotated[
        bool | None,
        typer.Option(
            help="Include the outputs of the network.", show_default="if they were evaluated", rich_help_panel=BY_PARTS
        ),
    ] = None,
    all_patients: Annotated[
        bool,
        typer.Option(
            "--all-patients",
            help="Fit mixture, PCA and regression on all patients; thresholds and performance are cross-validated.",
        ),
    ] = False,
    primary: Annotated[
        str | None, typer.Option(help="Name of the head that is shown first.", show_default="the first")
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="Safetensors file with the weights of a frozen network.")
    ] = None,
    include_weights: Annotated[
        bool, typer.Option(help="Include the weights of frozen networks, or only their checksums.")
    ] = True,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Export trained and scored systems as a predictor: a folder without patient data.

    Example: `ildfv export -w study --system fv-filters+patches-lung-ridge --all-patients --out my-predictor`
    """
    check_study(workspace)
    if region is not None:
        check_region_name(region)
    from ildfv.pipeline.export import export_predictor, scored_on_all_folds

    info = export_predictor(
        workspace,
        out,
        fold=fold,
        system=system or (),
        layer=layer,
        region=region,
        head=head or (),
        bags=bags,
        cnn=cnn,
        all_patients=all_patients,
        primary=primary,
        weights=weights or (),
        include_weights=include_weights,
        progress=output.progress(verbose, workspace=workspace),
    )
    if not output.emit(info.model_dump(mode="json"), as_json=as_json):
        from ildfv.inference.model_card import against_baselines

        names = ", ".join(one.name for one in info.heads)
        heads = f"heads {names} (primary: {info.primary})" if len(info.heads) > 1 else f"head {names}"
        output.prose(f"{out} contains the {heads}. {info.use}")
        for one in info.heads:
            output.prose(against_baselines(one))
        if not all_patients:
            alone = f"These are the results of fold {info.training['held_out_fold']} alone."
            more = ""
            if scored_on_all_folds(workspace, info):
                given = [f"--system {quote(one.name)}" for one in info.heads]
                given += [f"--weights {quote(str(path))}" for path in weights or ()]
                given += [f"--fold {fold}"] * (fold is not None) + ["--no-include-weights"] * (not include_weights)
                command = f"ildfv export -w {quote(str(workspace))} {' '.join(given)} --all-patients"
                more = f" For those of all {info.training['folds']} folds: {command} --out {quote(str(out))}"
            output.out.print(f"{alone}{more}", soft_wrap=True)
        output.out.print(f"Next: ildfv predict SCAN --predictor {quote(str(out))}", soft_wrap=True)
