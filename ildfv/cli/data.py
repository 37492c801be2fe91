"""Commands `phantom`, `prepare`, `stats` and `folds`: from scans to slices and folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.errors import InputError, printable
from ildfv.patterns import PATTERNS

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
    scans: Annotated[Path, typer.Argument(help="Folder with DICOM series, NIfTI or NRRD volumes, and label maps.")],
    workspace: o.Workspace = o.HERE,
    codes: Annotated[str | None, typer.Option(help=CODES, show_default="codes.toml of the scans")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV of labels of single slices: 0, 1 or empty for each pattern.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(help="T: pixels from which a pattern is present.", min=1, show_default="6000")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The workspace's seed.", min=0, max=o.MOST, show_default="0")] = None,
    workers: o.Workers = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Read scans, window their slices and count pattern pixels. Scans that break a rule are quarantined.

    Creates the workspace if it does not exist, and resumes an interrupted run.

    Example: `ildfv prepare scans --workspace study`
    """
    from ildfv.pipeline.prepare import prepare_scans

    report = prepare_scans(
        scans,
        workspace,
        codes=codes,
        labels=labels,
        threshold=threshold,
        seed=seed,
        workers=workers,
        progress=output.progress(verbose, workspace=workspace),
    )
    if not output.emit(report, as_json=as_json):
        if report["quarantined"]:
            rows = [(printable(q["source"]), printable(q["reason"])) for q in report["quarantined"]]
            output.table("Quarantined", ["scan", "reason"], rows)
        nothing = not report["scans"] and not report["quarantined"]
        if report["ignored"] and (verbose or nothing):
            rows = [(printable(i["source"]), printable(i["reason"])) for i in report["ignored"]]
            output.table("Ignored files", ["file", "reason"], rows)
        elif report["ignored"]:
            files = sum(max(1, unused["files"]) for unused in report["ignored"])  # a link to a folder counts 0 files
            output.out.print(f"{_counted(files, 'file')} ignored; -v lists them with reasons.")
        scans_by_note: dict[str, list[str]] = {}
        for scan in report["prepared"]:
            for note in scan["notes"]:
                scans_by_note.setdefault(note, []).append(Path(scan["source"]).name)
        for note, names in scans_by_note.items():
            which = ", ".join(names) if len(names) <= 3 else f"{len(names)} scans, the first {names[0]}"
            output.out.print(printable(f"note: {which}: {note}"), soft_wrap=True)
        for note in report["notes"]:
            output.out.print(printable(f"note: {note}"), soft_wrap=True)
        kept = f"; {_counted(report['kept'], 'scan')} unchanged" if report["kept"] else ""
        output.out.print(f"This run: {_contents(report)}{kept}.", soft_wrap=True)
        output.out.print(f"{workspace} now contains {_contents(report['workspace'])}.", soft_wrap=True)
    if report["scans"] == 0:
        if as_json:  # the document contains the reasons
            raise typer.Exit(1)
        raise InputError("no scan could be prepared: see the table above")


def _contents(of: dict) -> str:
    scans, patients, slices = (_counted(of[f"{what}s"], what) for what in ("scan", "patient", "slice"))
    return f"{scans} of {patients}, {slices} ({of['labelled_slices']:,} with label maps)"


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
    from ildfv.errors import check
    from ildfv.evaluation.statistics import NO_LABELS
    from ildfv.pipeline.tables import slice_statistics

    result = slice_statistics(workspace, threshold)
    check(result["slices"] > 0, NO_LABELS)
    if output.emit(result, as_json=as_json):
        return
    excluded = result["unlabelled_slices"]
    caption = f"T = {result['threshold']} pixels; {excluded} slice{'s' * (excluded != 1)} without label maps excluded"
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
        bool, typer.Option("--fresh/--keep", help="Replace an existing folds.json with another split, or refuse to.")
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


COMMANDS = [(command, "Data") for command in (phantom, prepare, stats, folds)]
