"""Commands `phantom`, `prepare`, `stats` and `folds`: from scans to slices and folds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.errors import InputError, check, printable
from ildfv.patterns import PATTERNS
from ildfv.pipeline.without_paths import without_paths

NUMBER = re.compile(r"\d+(\.\d+)?")
CODES = "TOML table of the meanings of label codes, or the name of a shipped one: `phantom`, `cip`."


def phantom(
    folder: Annotated[Path, typer.Argument(help="Folder for the scans; created if it does not exist.")],
    patients: Annotated[int, typer.Option(help="Number of patients, one scan each.", min=1)] = 20,
    slices: Annotated[int, typer.Option(help="Slices per scan.", min=3)] = 24,
    difficulty: Annotated[
        str, typer.Option(help="easy, or hard: early and mixed disease, findings that resemble it, several scanners.")
    ] = "easy",
    seed: o.Seed = 0,
    workers: o.Workers = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Generate synthetic chest CT: DICOM series with label maps. Equal seeds give equal files.

    Example: `ildfv phantom scans --patients 20 --seed 1 --difficulty hard`
    """
    from ildfv.phantom import write_phantoms

    scans = write_phantoms(
        folder,
        patients=patients,
        seed=seed,
        slices_per_scan=slices,
        difficulty=difficulty,
        workers=workers,
        progress=output.progress(verbose),
    )
    result = {
        "folder": str(folder),
        "difficulty": difficulty,
        "patients": patients,
        "slices": patients * slices,
        "scans": [str(s) for s in scans],
    }
    if not output.emit(result, as_json=as_json):
        output.out.print(f"{patients} phantom scans of {slices} slices in {folder}. Next: ildfv prepare {folder}")


def prepare(
    scans: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with DICOM series, NIfTI, NRRD or MetaImage volumes, and label maps.",
            show_default="folder of --table",
        ),
    ] = None,
    workspace: o.Workspace = o.HERE,
    codes: Annotated[str | None, typer.Option(help=CODES, show_default="codes.toml of the scans")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV of labels of slices: 0, 1 or empty for each pattern; optionally their patients."),
    ] = None,
    grey: Annotated[
        str | None,
        typer.Option(help="LOW,HIGH: read PNG, JPEG and TIFF images; their darkest and brightest grey are these HU."),
    ] = None,
    lung_masks: Annotated[
        Path | None, typer.Option(help="Folder of your lung masks, named like the scans, for densities and --region.")
    ] = None,
    hu: Annotated[
        bool, typer.Option("--hu", help="Also keep slices in HU for layers filters and patches; 100 KB per slice.")
    ] = False,
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the columns scan, label, patient, lung: use only these files.", exists=True, dir_okay=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print scans, label maps and patients from the headers; write nothing.")
    ] = False,
    packed: Annotated[
        bool, typer.Option("--packed", help="Also read zip archives, and DICOM files in gzip or without preamble.")
    ] = False,
    resample: Annotated[
        bool,
        typer.Option(
            "--resample", help="Resample scans with gantry tilt (up to 30°) or uneven gaps to even axial slices."
        ),
    ] = False,
    unlabelled_is_negative: Annotated[
        bool,
        typer.Option(
            "--unlabelled-is-negative",
            help="Slices of a labelled scan without any label show no pattern; by default they are not used.",
        ),
    ] = False,
    threshold: Annotated[
        int | None, typer.Option(help="T: pixels from which a pattern is present.", min=1, show_default="6000")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The workspace's seed.", min=0, max=o.MOST, show_default="0")] = None,
    patient_from: Annotated[
        str, typer.Option(help="Patient of a DICOM series: id (PatientID), folder (first below SCANS) or study.")
    ] = "id",
    workers: o.Workers = None,
    no_paths: Annotated[
        bool, typer.Option("--no-paths", help="Print no path, file name or reason, which may name patients.")
    ] = False,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Read scans, window their slices and count pattern pixels. Scans that fail a check are quarantined.

    Creates the workspace if it does not exist, and resumes an interrupted run.

    Example: `ildfv prepare scans --workspace study`
    """
    from ildfv.pipeline.prepare import prepare_scans, preview_scans
    from ildfv.scans.images import Grey

    window = None if grey is None else Grey.parse(grey)

    if scans is None:
        check(table is not None, "prepare must have a folder of scans or --table, got neither")
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
            grey=window,
            lung_masks=lung_masks,
            workers=workers,
            progress=output.progress(verbose),
        )
        if not output.emit(preview, as_json=as_json):
            _show_preview(preview, verbose)
        return
    report = prepare_scans(
        scans,
        workspace,
        codes=codes,
        labels=labels,
        grey=window,
        lung_masks=lung_masks,
        hu=hu,
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
        nothing = not report["scans"] and not report["quarantined"]
        if no_paths:
            _print_counts(report)
        else:
            _show_unused(report, verbose or nothing)
        notes = [(Path(scan["source"]).name, note) for scan in report["prepared"] for note in scan.get("notes", ())]
        for line in grouped_notes(notes):
            output.out.print(printable(f"note: {line}"))
        for note in report["notes"]:
            output.out.print(printable(f"note: {note}"))
        if report["removed"]:
            removed = [
                (one["series"], one.get("reason", _counted(one["slices"], "slice"))) for one in report["removed"]
            ]
            output.lines("Removed from the workspace", removed)
            what = f"{_counted(report['removed_scans'], 'scan')}, {_counted(report['removed_slices'], 'slice')}"
            output.out.print(f"note: {what} of earlier runs were removed from the workspace.")
        kept = f"; {_counted(report['kept'], 'scan')} unchanged" if report["kept"] else ""
        output.out.print(f"This run: {_contents(report)}{kept}.")
        where = "The workspace" if no_paths else workspace
        output.out.print(f"{where} now contains {_contents(report['workspace'])}.")
    if report["scans"] == 0:
        if as_json:  # the document contains the reasons
            raise typer.Exit(1)
        raise InputError("no scan could be prepared: prepare.json in the workspace lists the reasons")


def _print_counts(report: dict) -> None:
    """Prints how many files were quarantined and ignored, without their names."""
    for name in ("quarantined", "ignored"):
        if files := _files(report[name]):
            output.out.print(f"{_counted(files, 'file')} {name}: see prepare.json in the workspace for the reasons.")


def _files(unused: list[dict]) -> int:
    return sum(max(1, one["files"]) for one in unused)  # a link to a folder counts 0 files


def _show_preview(preview: dict, verbose: int) -> None:
    for scan in preview["scans"]:
        what = f"patient {scan['patient']}, {_counted(scan['slices'], 'slice')}, label map: {scan['label'] or 'none'}"
        output.out.print(printable(f"{scan['source']}: {what}"), soft_wrap=True)
    _show_unused(preview, verbose)
    labelled = sum(scan["label"] is not None for scan in preview["scans"])
    found = _counted(len(preview["scans"]), "scan")
    output.out.print(f"{found}, {labelled} with label maps; nothing was written.", soft_wrap=True)


def _show_unused(report: dict, every_file: int | bool) -> None:
    """Prints what is not used: all that is quarantined, and the ignored files by reason or, if `every_file`, each."""
    if report["quarantined"]:
        output.lines("Quarantined", [(one["source"], one["reason"]) for one in report["quarantined"]])
    if report["ignored"] and every_file:
        output.lines("Ignored files", [(one["source"], one["reason"]) for one in report["ignored"]])
        return
    by_reason: dict[str, list[dict]] = {}
    for unused in report["ignored"]:
        by_reason.setdefault(unused["reason"], []).append(unused)
    for reason, entries in by_reason.items():
        files = sum(max(1, unused["files"]) for unused in entries)  # a link to a folder counts 0 files
        names = [Path(unused["source"]).name for unused in entries]
        which = _some(names, f"{len(names)} places")
        output.out.print(printable(f"{_counted(files, 'file')} ignored ({which}): {reason}"), soft_wrap=True)


def grouped_notes(notes: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each kind of note, with its scans. Notes that differ only in numbers are of one kind."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, note in notes:
        kinds.setdefault(NUMBER.sub("#", note), []).append((name, note))
    lines = []
    for found in kinds.values():
        texts = Counter(note for _, note in found)
        which = _some([name for name, _ in found], _counted(len(found), "scan"))
        others = f" (and {_counted(len(texts) - 1, 'other value')})" if len(texts) > 1 else ""
        lines.append(f"{which}: {texts.most_common(1)[0][0]}{others}")
    return lines


def _some(names: list[str], count: str) -> str:
    """The names, or for more than three the count and the first one."""
    return ", ".join(names) if len(names) <= 3 else f"{count}, the first {names[0]}"


def _contents(of: dict) -> str:
    scans, patients, slices = (_counted(of[f"{what}s"], what) for what in ("scan", "patient", "slice"))
    return f"{scans} of {patients}, {slices} ({of['labelled_slices']:,} with labels)"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def stats(
    workspace: o.Workspace = o.HERE,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
    threshold: Annotated[int | None, typer.Option(help="T in pixels.", min=1, show_default="the workspace's")] = None,
) -> None:
    """Count slices and patients per pattern, and patterns per slice: the paper's Tables 1 and 2 for these slices.

    Example: `ildfv stats --threshold 4000`
    """
    from ildfv.evaluation.statistics import NO_LABELS
    from ildfv.pipeline.tables import slice_statistics

    result = slice_statistics(workspace, threshold)
    check(result["slices"] > 0, NO_LABELS)
    if output.emit(result, as_json=as_json):
        return
    excluded = result["unlabelled_slices"]
    caption = f"T = {result['threshold']} pixels; {excluded} slice{'s' * (excluded != 1)} without labels excluded"
    rows = [(name, row["slices"], row["patients"]) for name, row in result["per_pattern"].items()]
    rows.append(("none (patients: on all slices)", result["healthy"]["slices"], result["healthy"]["patients"]))
    rows.append(("all", result["slices"], result["patients"]))
    data = " (phantom data)" if result["data"] == "phantom" else ""
    output.table(f"Slices and patients per pattern{data}", ["pattern", "slices", "patients"], rows, caption=caption)
    output.table(
        f"Patterns per slice{data}",
        ["patterns", "slices", "patients"],
        [(" + ".join(c["patterns"]) or "none", c["slices"], c["patients"]) for c in result["combinations"]],
    )


def folds(
    workspace: o.Workspace = o.HERE,
    number: Annotated[int | None, typer.Option("--folds", help="Number of folds.", min=2, show_default="5")] = None,
    seed: o.OwnSeed = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the existing folds.json.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh/--keep", help="Replace an existing folds.json that differs; --keep refuses to.")
    ] = False,
    slices: Annotated[
        str | None,
        typer.Option(help="Path or URL (s3://…) of slices prepared elsewhere; creates the workspace if necessary."),
    ] = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Split patients into folds, stratified by pattern, or check an existing split. No patient is in two folds.

    Example: `ildfv folds --folds 5`
    """
    from ildfv.pipeline.split import check_folds, open_workspace, write_folds

    space = open_workspace(workspace, slices)
    split = check_folds(space) if check else write_folds(space, n_folds=number, seed=seed, fresh=fresh)
    result: dict = {"folds": split.table(), "unlabelled_patients": len(split.unlabelled), "warnings": split.warnings()}
    if output.emit(result, as_json=as_json):
        return
    columns = ["fold", "patients", "slices", *PATTERNS]
    rows = [(r["fold"], r["patients"], r["slices"], *r["slices_with"].values()) for r in result["folds"]]
    output.table("Folds", columns, rows, caption="columns of patterns: number of slices")
    for warning in result["warnings"]:
        output.out.print(f"note: {warning}")
