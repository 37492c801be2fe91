"""Command `prepare`, which converts scans to slices in a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.cli.early import check_scan
from ildfv.cli.prepare_report import show_preview, show_report
from ildfv.errors import InputError, check
from ildfv.pipeline.without_paths import without_paths

CODES = "TOML table of the label codes, or the name of a built-in table: `phantom`, `cip`, `hug-ild` or `medseg`."


def prepare(
    scans: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with DICOM series, NIfTI, NRRD or MetaImage volumes, and label maps.",
            show_default="folder of --table",
        ),
    ] = None,
    workspace: o.Workspace = o.HERE,
    codes: Annotated[str | None, typer.Option(help=CODES, show_default="codes.toml near the scans")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with labels of slices or scans (0, 1 or empty for each pattern) and, optionally, patients."
        ),
    ] = None,
    ignore_column: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of --labels that is not used although its name or values resemble those of a used column; "
            "repeat the option for several columns."
        ),
    ] = None,
    grey: Annotated[
        str | None,
        typer.Option(
            help="Read PNG, JPEG and TIFF; LOW,HIGH are the HU of the smallest and largest value of the pixel type."
        ),
    ] = None,
    lung_masks: Annotated[
        Path | None,
        typer.Option(help="Folder of lung masks, each named like its scan, for densities and --region lung."),
    ] = None,
    lungs: Annotated[
        str | None,
        typer.Option(
            help="Method that finds the lung: `rule`, or `lungmask` (needs `ildfv[lungs]`).", show_default="rule"
        ),
    ] = None,
    hu: Annotated[
        bool,
        typer.Option("--hu", help="Also store slices in HU, for the layers filters and patches (100 KB per slice)."),
    ] = False,
    normalise: Annotated[
        str | None,
        typer.Option(help="Normalise HU by values measured in the scan: `air` (around the body) or `air,tissue`."),
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(help="Resample slices to 512×512 pixels of this size, in mm.", metavar="MM")
    ] = None,
    noise_level: Annotated[
        float | None,
        typer.Option(
            help="Reduce the noise of noisier scans to this level in HU, measured in soft tissue.", metavar="HU"
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with the columns scan, label, patient and lung. Only the listed files are used.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Published data set whose folders determine scans, label maps and patients: hug-ild, medseg or ltrc.",
            show_default="scans are found by names and headers",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print scans, label maps and patients from the headers, and write nothing."),
    ] = False,
    packed: Annotated[
        bool,
        typer.Option("--packed", help="Also read zip archives and DICOM files that are gzipped or have no preamble."),
    ] = False,
    resample: Annotated[
        bool,
        typer.Option(
            "--resample",
            help="Resample scans with gantry tilt (up to 30°) or uneven slice spacing to evenly spaced axial slices.",
        ),
    ] = False,
    unlabelled_is_negative: Annotated[
        bool,
        typer.Option(
            "--unlabelled-is-negative",
            help="Slices without a label in a labelled scan count as slices without patterns; by default, they are not "
            "used.",
        ),
    ] = False,
    threshold: Annotated[str | None, o.present_from("6000")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed of the workspace.", min=0, max=o.MAX_SEED, show_default="0")
    ] = None,
    patient_from: Annotated[
        str,
        typer.Option(
            help="Identity of the patient of a DICOM series: id (PatientID), folder (first below SCANS) or study."
        ),
    ] = "id",
    workers: o.Workers = None,
    no_paths: Annotated[
        bool, typer.Option("--no-paths", help="Print no paths, file names or reasons, because they may name patients.")
    ] = False,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Read scans, apply the windows, and count the pixels of each pattern. Scans that fail a check are excluded.

    Creates the workspace if it does not exist, and resumes an interrupted run.

    Example: `ildfv prepare scans --workspace study`
    """
    if scans is not None:
        check_scan(scans)

    from ildfv.pipeline.prepare import prepare_scans
    from ildfv.pipeline.preview import preview_scans
    from ildfv.scans.grey import Grey

    window = None if grey is None else Grey.parse(grey)

    if scans is None:
        check(table is not None, "prepare needs a folder of scans or --table, got neither")
        assert table is not None
        scans = table.parent
    if dry_run:
        preview = preview_scans(
            scans,
            codes=codes,
            table=table,
            packed=packed,
            resample=resample,
            patient_from=patient_from,
            labels=labels,
            ignored_columns=ignore_column or (),
            grey=window,
            lung_masks=lung_masks,
            layout=layout,
            workers=workers,
            progress=output.progress(verbose),
        )
        if not output.emit(preview, as_json=as_json):
            show_preview(preview, every_file=verbose > 0)
        return
    report = prepare_scans(
        scans,
        workspace,
        codes=codes,
        labels=labels,
        ignored_columns=ignore_column or (),
        grey=window,
        lung_masks=lung_masks,
        hu=hu,
        normalise=normalise,
        pixel_size=pixel_size,
        noise_level=noise_level,
        lungs=lungs,
        layout=layout,
        table=table,
        packed=packed,
        resample=resample,
        unlabelled_is_negative=unlabelled_is_negative,
        threshold=threshold,
        seed=seed,
        patient_from=patient_from,
        workers=workers,
        progress=output.progress(verbose, workspace=workspace, notes=not no_paths),
    )
    if no_paths:
        report = without_paths(report)
    if not output.emit(report, as_json=as_json):
        show_report(report, "The workspace" if no_paths else str(workspace), paths=not no_paths, every_file=verbose > 0)
    if report["scans"] == 0:
        if as_json:  # the document contains the reasons
            raise typer.Exit(1)
        raise InputError("no scan could be prepared: prepare.json in the workspace lists the reasons")
