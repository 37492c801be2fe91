"""Commands `similar`, which finds similar slices, and `components`, which shows the components of a mixture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.cli.early import check_scan, check_study
from ildfv.counted import counted
from ildfv.inference.gallery_file import check_gallery, write_gallery
from ildfv.pipeline.choices import check_region_name
from ildfv.pipeline.location import split_slice


def similar(
    scan: Annotated[
        str,
        typer.Argument(
            help="Scan, or SCAN:N for its slice N (1 is the lowest). Without N: the slice with the most lung. With a "
            "study of images: an image."
        ),
    ],
    workspace: o.Workspace = o.HERE,
    count: Annotated[int, typer.Option("--count", "-n", help="Number of slices to find.", min=1)] = 10,
    per_patient: Annotated[
        int | None, typer.Option(help="Maximum number of found slices per patient.", min=1, show_default="no limit")
    ] = None,
    layer: o.EncodedLayer = None,
    region: o.EncodedRegion = "slice",
    fold: o.OwnFold = None,
    series: o.Series = None,
    out: Annotated[Path | None, typer.Option(help="HTML page with thumbnails.", show_default="not written")] = None,
    weights: o.FrozenWeights = None,
    device: o.Device = "auto",
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Find the slices of other patients in a study whose projected Fisher vectors are nearest to those of a slice.

    Example: `ildfv similar /data/scan:120 -w study --out similar.html`
    """
    check_study(workspace, device)
    check_region_name(region)
    check_scan(split_slice(scan)[0])
    if out is not None:
        check_gallery(out)
    from ildfv.pipeline.devices import resolve
    from ildfv.pipeline.similar import similar_page, similar_slices, text_of_labels

    found = similar_slices(
        workspace,
        scan,
        count=count,
        per_patient=per_patient,
        layer=layer,
        region=region,
        fold=fold,
        series=series,
        weights=weights or (),
        device=resolve(device),
        progress=output.progress(verbose),
    )
    if out is not None:
        write_gallery(out, similar_page(found))
    if output.emit(found.document, as_json=as_json):
        return
    for note in found.document["notes"]:
        output.prose(f"note: {note}")
    query, searched = found.document["query"], found.document["searched"]
    rows = [
        [str(one["rank"]), f"{one['distance']:.4f}", text_of_labels(one), one["patient"][:8], f"{one['slice']}"]
        for one in found.document["results"]
    ]
    title = (
        f"Slices nearest to slice {query['slice']} of {query['scan']}, among "
        f"{counted(searched['slices'], 'slice')} of "
        f"{counted(searched['patients'], 'other patient')}"
    )
    encoding = found.document["encoding"]
    title += f" (layer {encoding['layer']}, region {encoding['region']}, fold {encoding['fold']})"
    output.table(title, ["", "distance", "labels", "patient", "slice"], rows)
    if out is not None:
        output.out.print(f"Page: {out}. Research use only.")


def components(
    workspace: o.Workspace = o.HERE,
    layer: o.EncodedLayer = None,
    region: o.EncodedRegion = "slice",
    fold: o.OwnFold = None,
    count: Annotated[int, typer.Option("--count", "-n", help="Maximum number of patches per component.", min=1)] = 8,
    slices: Annotated[int, typer.Option(help="Maximum number of training slices to search for patches.", min=1)] = 200,
    out: Annotated[Path | None, typer.Option(help="HTML page with the patches.", show_default="not written")] = None,
    weights: o.FrozenWeights = None,
    device: o.Device = "auto",
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Show each component of a mixture: the nearest training patches, and its contributions to the scores.

    The encoding needs a linear regression, which `ildfv fit --recipe few` does not fit: run
    `ildfv regress --head linear` first.

    Example: `ildfv components -w study --layer conv1 --out components.html`
    """
    check_study(workspace, device)
    check_region_name(region)
    if out is not None:
        check_gallery(out)
    from ildfv.pipeline.components import describe_components
    from ildfv.pipeline.devices import resolve

    found = describe_components(
        workspace,
        layer=layer,
        region=region,
        fold=fold,
        count=count,
        slices_read=slices,
        out=out,
        weights=weights or (),
        device=resolve(device),
        progress=output.progress(verbose),
    )
    if output.emit(found, as_json=as_json):
        return
    names = list(found["components"][0]["mean_part_of_score"])
    rows = [
        [str(one["component"]), f"{one['weight']:.3f}", *(f"{one['mean_part_of_score'][name]:+.3g}" for name in names)]
        for one in found["components"]
    ]
    searched = counted(found["slices"], "training slice")
    title = f"Components of {found['layer']}: mean contributions to the scores of {searched}"
    output.table(title, ["", "weight", *names], rows)
    if out is not None:
        output.out.print(f"Page: {out}. It contains images of the study's patients.")
