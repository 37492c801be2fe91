"""phantom, prepare, stats, folds: from scans to slices and patients in folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.errors import InputError
from ildfv.patterns import PATTERNS
from ildfv.pipeline.without_paths import without_paths

CODES = "TOML file: which label code means which pattern; `phantom` and `cip` name the two that are shipped."


def phantom(
    folder: Annotated[Path, typer.Argument(help="Folder for the scans; made if need be.")],
    patients: Annotated[int, typer.Option(help="Number of patients, one scan each.", min=1)] = 20,
    slices: Annotated[int, typer.Option(help="Slices a scan.", min=3)] = 24,
    seed: o.Seed = 0,
    workers: o.Workers = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Generate chest CT phantoms: DICOM series with label maps, the same files for the same seed.

    Example: `ildfv phantom scans --patients 20 --seed 1`
    """
    from ildfv.phantom import write_phantoms

    scans = write_phantoms(
        folder,
        patients=patients,
        seed=seed,
        slices_per_scan=slices,
        workers=workers,
        progress=output.progress(verbose),
    )
    result = {
        "folder": str(folder),
        "patients": patients,
        "slices": patients * slices,
        "scans": [str(s) for s in scans],
    }
    if not output.emit(result, as_json=as_json):
        output.out.print(f"{patients} phantom scans of {slices} slices in {folder}. Next: ildfv prepare {folder}")


def prepare(
    scans: Annotated[Path, typer.Argument(help="Folder with DICOM series, NIfTI or NRRD volumes, and label maps.")],
    workspace: o.Workspace = o.HERE,
    codes: Annotated[str | None, typer.Option(help=CODES, show_default="codes.toml with the scans")] = None,
    threshold: Annotated[
        int | None, typer.Option(help="T: pixels from which a pattern counts as present.", min=1, show_default="6000")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The workspace's seed.", min=0, max=o.MOST, show_default="0")] = None,
    workers: o.Workers = None,
    no_paths: Annotated[
        bool, typer.Option("--no-paths", help="Print no path, file name or reason, as these may name patients.")
    ] = False,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Read scans, window their slices, count pattern pixels. A bad scan is set aside with its reason.

    Makes the workspace if there is none; goes on where an earlier run was stopped.

    Example: `ildfv prepare scans --workspace study`
    """
    from ildfv.pipeline.prepare import prepare_scans

    report = prepare_scans(
        scans,
        workspace,
        codes=codes,
        threshold=threshold,
        seed=seed,
        workers=workers,
        progress=output.progress(verbose, workspace=workspace, notes=not no_paths),
    )
    if no_paths:
        report = without_paths(report)
    if not output.emit(report, as_json=as_json):
        if no_paths:
            _tell_counts(report)
        elif report["quarantined"]:
            output.lines("Set aside", [(q["source"], q["reason"]) for q in report["quarantined"]])
        nothing = not report["scans"] and not report["quarantined"]
        if report["ignored"] and (verbose or nothing) and not no_paths:
            output.lines("Ignored files", [(i["source"], i["reason"]) for i in report["ignored"]])
        elif report["ignored"] and not no_paths:
            files = sum(max(1, left["files"]) for left in report["ignored"])  # a link to a folder holds none
            output.out.print(f"{_n(files, 'file')} ignored; -v says why.")
        noted: dict[str, list[str]] = {}
        for scan in report["prepared"]:
            for note in scan.get("notes", ()):
                noted.setdefault(note, []).append(Path(scan["source"]).name)
        for note, names in noted.items():
            of = ", ".join(names) if len(names) <= 3 else f"{len(names)} scans, the first {names[0]}"
            output.out.print(f"note: {of}: {note}", soft_wrap=True)
        for note in report["notes"]:
            output.out.print(f"note: {note}", soft_wrap=True)
        if report["removed"]:
            removed = [(one["series"], one.get("reason", f"{one['slices']} slices")) for one in report["removed"]]
            output.lines("Removed from the workspace", removed)
            of = f"{_n(report['removed_scans'], 'scan')}, {_n(report['removed_slices'], 'slice')}"
            output.out.print(f"note: {of} prepared before were removed from the workspace.")
        kept = f"; {_n(report['kept'], 'scan')} unchanged" if report["kept"] else ""
        output.out.print(f"This run: {_holding(report)}{kept}.", soft_wrap=True)
        where = "The workspace" if no_paths else workspace
        output.out.print(f"{where} now holds {_holding(report['workspace'])}.", soft_wrap=True)
    if report["scans"] == 0:
        if as_json:  # the document says why
            raise typer.Exit(1)
        raise InputError("no scan could be prepared: prepare.json in the workspace has the reasons")


def _tell_counts(report: dict) -> None:
    """How many scans and files were left out, without their names."""
    for name, what in (("quarantined", "set aside"), ("ignored", "ignored")):
        files = sum(max(1, left["files"]) for left in report[name])
        if files:
            output.out.print(f"{_n(files, 'file')} {what}: prepare.json in the workspace has names and reasons.")


def _holding(of: dict) -> str:
    scans, patients, slices = (_n(of[f"{what}s"], what) for what in ("scan", "patient", "slice"))
    return f"{scans} of {patients}, {slices} ({of['labelled_slices']:,} with label maps)"


def _n(number: int, what: str) -> str:
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
    left_out = result["unlabelled_slices"]
    caption = f"T = {result['threshold']} pixels; {left_out} slice{'s' * (left_out != 1)} without label maps left out"
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
    check: Annotated[bool, typer.Option("--check", help="Only check the folds.json that is there.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh/--keep", help="Replace a folds.json that holds another split, or refuse to.")
    ] = False,
    slices: Annotated[
        str | None,
        typer.Option(help="Path or URL (s3://…) of slices prepared elsewhere; makes the workspace if need be."),
    ] = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Split patients into folds, stratified by pattern; or check a split made by hand. No patient is in two.

    Example: `ildfv folds --folds 5`
    """
    from ildfv.pipeline.split import check_split, make_split, open_workspace

    space = open_workspace(workspace, slices)
    split = check_split(space) if check else make_split(space, n_folds=number, seed=seed, fresh=fresh)
    result: dict = {"folds": split.table(), "unlabelled_patients": len(split.unlabelled), "warnings": split.warnings()}
    if output.emit(result, as_json=as_json):
        return
    columns = ["fold", "patients", "slices", *PATTERNS]
    rows = [(r["fold"], r["patients"], r["slices"], *r["slices_with"].values()) for r in result["folds"]]
    output.table("Folds", columns, rows, caption="under each pattern: the slices that show it")
    for warning in result["warnings"]:
        output.out.print(f"note: {warning}")


COMMANDS = [(command, "Data") for command in (phantom, prepare, stats, folds)]
