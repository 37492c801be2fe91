"""Commands `encode` and `regress`: the Fisher vectors of a layer, and their regression."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import completion, output
from ildfv.cli import options as o
from ildfv.cli.early import check_study
from ildfv.cli.encoded import show_encodings
from ildfv.cli.scores import show_scores
from ildfv.pipeline.choices import check_head, check_method, check_region_name, check_target


def encode(
    workspace: o.Workspace = o.HERE,
    layer: Annotated[
        str,
        typer.Option(
            help="Layer: conv1 … conv5, fc6 or any module of the network; or filters or patches, without a network. "
            "Several joined by a plus sign, such as conv1+patches, are encoded one after another.",
            autocompletion=completion.layers,
        ),
    ] = "conv1",
    region: o.Region = "slice",
    lungs: Annotated[
        str, typer.Option(help="Method that finds the lung for --region lung: rule or lungmask.")
    ] = "rule",
    fold: o.Fold = 0,
    model: Annotated[
        str | None, typer.Option(help="Name of the trained model.", show_default="the newest model")
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="Frozen network (not trained in the study): efficientnet-lite0, cnnf, torchvision:NAME or timm:NAME."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Safetensors file for --network. efficientnet-lite0 with `ildfv[pretrained]` does not need it."
        ),
    ] = None,
    components: Annotated[int, typer.Option("--components", "-k", help="Number of mixture components.", min=1)] = 32,
    dimensions: Annotated[int, typer.Option(help="Maximum number of dimensions after PCA.", min=1)] = 512,
    passes: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of EM passes over all descriptors.", min=1, show_default="3, or 10 with --method exact"
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="EM method: stepwise or exact.")] = "stepwise",
    improved: Annotated[bool, typer.Option(help="Apply the signed square root and L2 normalisation.")] = True,
    seed: o.OwnSeed = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Number of slices per batch.", min=1, show_default="16, or as many as GPU memory allows"),
    ] = None,
    fresh: Annotated[bool, o.fresh("the encoding")] = False,
    device: o.Device = "auto",
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Encode every slice as a Fisher vector of a layer's descriptors, reduced by PCA.

    The mixture and the PCA are fitted on all patients who are neither held out nor used for validation. Activations
    are not stored. Resumes an interrupted run.

    Example: `ildfv encode --layer conv1`
    """
    check_study(workspace, device)
    check_method(method)
    check_region_name(region)
    from ildfv.pipeline.encode import EncodeSettings
    from ildfv.pipeline.encode_layers import encode_layers, next_command

    settings = EncodeSettings(
        layer=layer,
        components=components,
        dimensions=dimensions,
        passes=passes,
        method=method,
        improved=improved,
        seed=seed,
        batch_size=batch_size,
        region=region,
        lungs=lungs,
    )
    found = encode_layers(
        workspace,
        settings,
        fold=fold,
        model=model,
        network=network,
        weights=weights,
        device=device,
        fresh=fresh,
        progress=output.progress(verbose, workspace=workspace),
    )
    show_encodings(found, next_command(found), as_json)


def regress(
    workspace: o.Workspace = o.HERE,
    layer: Annotated[
        str | None,
        typer.Option(
            help="Layer, or several joined by a plus sign, such as filters+patches.",
            show_default="layer of the newest encoding",
            autocompletion=completion.joined_layers,
        ),
    ] = None,
    region: o.EncodedRegion = "slice",
    fold: o.OwnFold = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Regression target: counts, step (presence), ramp or fraction (of the lung).",
            show_default="counts for linear, step for ridge or without pixel counts; logistic is fitted to presence",
        ),
    ] = None,
    head: Annotated[
        str,
        typer.Option(
            help="Regression: linear; or ridge or logistic, for few slices, with penalties from cross-validation."
        ),
    ] = "linear",
    ridge: Annotated[str, typer.Option(help=f"Ridge penalty: {o.RIDGE_PENALTY}.")] = "auto",
    density: Annotated[
        str,
        typer.Option(
            help="Lung densities as additional inputs of ridge and logistic: auto (if they improve "
            "cross-validated scores of training patients) or off."
        ),
    ] = "auto",
    bags: o.Bags = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Fit a regression on an encoding, by default the newest, and evaluate it on the held-out fold.

    The name of the system contains every choice that is not the default, such as fv-conv1-ridge-density-off.

    Example: `ildfv regress`
    """
    check_study(workspace)
    check_head(head, target, ridge, density)
    check_target(target)
    from ildfv.pipeline.regress import regress_encoding

    result = regress_encoding(
        workspace,
        layer=layer,
        region=region,
        fold=fold,
        target=target,
        ridge=ridge,
        head=head,
        density=density,
        bags=bags,
        progress=output.progress(verbose, workspace=workspace),
    )
    show_scores(result, as_json)
