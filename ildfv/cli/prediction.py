"""Command `predict`, which applies a predictor to scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import completion, output
from ildfv.cli import options as o
from ildfv.cli.early import missing_sources
from ildfv.cli.prediction_tables import print_answer, print_change
from ildfv.counted import counted
from ildfv.errors import InputError, check
from ildfv.inference.cnn_methods import GRAD_CAM, cnn_method
from ildfv.inference.predictor_location import predictor_content
from ildfv.pipeline.devices import check_name
from ildfv.store.outputs import check_folder

NOT_PREDICTED = 1  # exit code if a scan could not be predicted


def predict(
    scans: Annotated[
        list[str],
        typer.Argument(
            help="Scans: DICOM folders, zip archives, DICOM, NIfTI, NRRD or MetaImage files, or "
            "dicomweb://host/path/studies/UID, with or without /series/UID. With a predictor trained on images: PNG, "
            "JPEG or TIFF files, or folders of them.",
            show_default=False,
        ),
    ],
    predictor: Annotated[
        Path,
        typer.Option(
            "--predictor",
            "-p",
            help="Folder written by `ildfv export`.",
            show_default=False,
            autocompletion=completion.predictors,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the JSON, CSV, HTML page and maps of each scan.", show_default="not written"),
    ] = None,
    series: o.Series = None,
    lung_masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of lung masks, each named like its scan, as for `ildfv prepare`.",
            show_default="the lung is found as on the training slices",
        ),
    ] = None,
    follow_up: Annotated[
        bool, typer.Option("--follow-up", help="Compare two scans of a patient, the earlier one first.")
    ] = False,
    methods: Annotated[bool, typer.Option("--methods", help="Print a paragraph for a Methods section.")] = False,
    keep_identity: Annotated[
        bool,
        typer.Option("--keep-identity", help="Include patient, study, series and path of the scan in the outputs."),
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Repeat predictions that are already in --out.")] = False,
    cnn_maps: Annotated[
        str | None,
        typer.Option(
            help="Also write maps of the outputs of the network to --out: grad-cam, or occlusion, which takes 170 "
            "forward passes per slice.",
            show_default="not written",
        ),
    ] = None,
    cam: Annotated[bool, typer.Option("--cam", help="The same as --cnn-maps grad-cam.")] = False,
    weights: Annotated[
        list[Path] | None,
        typer.Option(help="Safetensors file with weights of a frozen network that the predictor does not contain."),
    ] = None,
    dicom: Annotated[
        Path | None,
        typer.Option(
            help="Folder for DICOM objects of each DICOM scan. Unlike other output, they name the patient and study.",
            show_default="not written",
        ),
    ] = None,
    store: Annotated[
        bool,
        typer.Option(
            "--store",
            help="Store the DICOM objects on the server that the scan came from, or at the address that follows: "
            "dicomweb://host/path or dicom://AET@host:port.",
        ),
    ] = False,
    device: o.Device = "auto",
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Predict the presence, probability and area of each pattern on scans, with evidence. Research use only.

    In a folder of scans, for example with one folder per patient, every scan is predicted. If a scan cannot be read,
    the error is reported, the other scans are predicted, and the exit code is 1. Scans whose predictions are already in
    --out are skipped. Credentials for a PACS are read from ILDFV_PACS_USER and ILDFV_PACS_PASSWORD, from
    ILDFV_PACS_TOKEN, or from the file named by ILDFV_PACS_CREDENTIALS.

    Example: `ildfv predict /data/scan --predictor my-predictor --out answers`
    """
    method = cnn_method(cnn_maps) if cnn_maps is not None else GRAD_CAM if cam else None
    check(
        not cam or method is GRAD_CAM, f"--cam means --cnn-maps grad-cam, got --cnn-maps {cnn_maps} as well: omit one"
    )
    option = "--cam" if cam else "--cnn-maps"
    writes_maps = out is not None and not follow_up
    check(method is None or writes_maps, f"{option} needs --out and cannot be used with --follow-up")
    if lung_masks is not None:
        from ildfv.datasets.lung_masks import check_folder_of_masks

        check_folder_of_masks(lung_masks)
        check(not follow_up, "--lung-masks cannot be used with --follow-up")
    for folder in (out, dicom):
        if folder is not None:
            check_folder(folder)
    check_name(device)
    predictor_content(predictor)
    missing = missing_sources(scans)
    if follow_up and missing:
        raise InputError(missing[0]["reason"])
    if len(missing) == len(scans):
        _show_predictions([], missing, [], with_dicom=dicom is not None or store, as_json=as_json)
        raise typer.Exit(NOT_PREDICTED)

    from ildfv.inference.predictor import Predictor
    from ildfv.pacs.predict import predict_and_deliver
    from ildfv.pipeline.devices import resolve

    loaded = Predictor.load(predictor, device=resolve(device), weights=weights or ())
    progress = output.progress(verbose)
    if follow_up:
        from ildfv.inference.follow_up import compare_scans

        paths = [Path(scan) for scan in scans]
        found = compare_scans(paths, loaded, out=out, series=series, keep_identity=keep_identity, progress=progress)
        if not output.emit(found.to_dict(), as_json=as_json):
            print_change(found.to_dict())
            _print_end(out, loaded, None, methods=methods)
        return
    answered, failed, delivered = predict_and_deliver(
        scans,
        loaded,
        out=out,
        dicom=dicom,
        store=store,
        series=series,
        keep_identity=keep_identity,
        fresh=fresh,
        cnn_maps=method,
        lung_masks=lung_masks,
        progress=progress,
    )
    if not _show_predictions(answered, failed, delivered, with_dicom=dicom is not None or store, as_json=as_json):
        _print_end(out if answered else None, loaded, method, methods=methods)
    if failed:
        raise typer.Exit(NOT_PREDICTED)


def _show_predictions(
    answered: list[dict], failed: list[dict], delivered: list[dict], *, with_dicom: bool, as_json: bool
) -> bool:
    """Prints the results of all scans. Returns True if nothing more must be printed."""
    document = {"answers": answered, "failed": failed} | ({"dicom": delivered} if with_dicom else {})
    if output.emit(document, as_json=as_json):
        return True
    for answer in answered:
        print_answer(answer)
    for one in delivered:
        output.out.print(
            f"{one['scan']}: {counted(one['objects'], 'DICOM object')}, {one['stored']} stored on the PACS."
        )
    for one in failed:
        where = f"{one['source']}, {one['scan']}" if "scan" in one else one["source"]
        where += f" (file {one['position']} in the order of paths)" if "position" in one else ""
        output.errors.print(f"{where}: {one['reason']}", style="red", soft_wrap=True)
    return False


def _print_end(out: Path | None, predictor, method, *, methods: bool) -> None:
    """Prints the folder of the output and, with `methods`, a paragraph for a Methods section."""
    if out is not None:
        output.out.print(f"Written to {out}. Research use only.")
    if methods:
        from ildfv.inference.methods import methods_paragraph

        output.out.print(methods_paragraph(predictor.info, predictor.checksum, method), soft_wrap=True)
