"""Commands `phantom`, `stats` and `folds`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.cli.early import check_study
from ildfv.counted import counted, joined
from ildfv.errors import check
from ildfv.patterns import PATTERNS, extent_text


def phantom(
    folder: Annotated[Path, typer.Argument(help="Folder for the scans; created if it does not exist.")],
    patients: Annotated[int, typer.Option(help="Number of patients, one scan each.", min=1)] = 20,
    slices: Annotated[int, typer.Option(help="Number of slices per scan.", min=3)] = 24,
    difficulty: Annotated[
        str,
        typer.Option(help="easy, or hard: early and mixed disease, similar-looking findings, several scanners."),
    ] = "easy",
    seed: o.Seed = 0,
    workers: o.Workers = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Generate phantoms: synthetic chest CT scans as DICOM series with label maps. Equal seeds give equal files.

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
        made = f"{counted(patients, 'phantom scan')} of {counted(slices, 'slice')} in {folder}"
        output.out.print(f"{made}. Next: ildfv prepare {quote(str(folder))}", soft_wrap=True)


def stats(
    workspace: o.Workspace = o.HERE,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
    threshold: Annotated[str | None, o.present_from("T of the workspace")] = None,
) -> None:
    """Count slices and patients per pattern, and slices per set of patterns, as in Tables 1 and 2 of the paper.

    Example: `ildfv stats --threshold 4000`
    """
    check_study(workspace)
    from ildfv.evaluation.statistics import NO_LABELS
    from ildfv.inference.sentences import NOT_LABELLED
    from ildfv.pipeline.tables import slice_statistics

    result = slice_statistics(workspace, threshold)
    check(result["slices"] > 0, NO_LABELS)
    if output.emit(result, as_json=as_json):
        return
    excluded, unit = result["unlabelled_slices"], result.get("unit", "slice")
    labels = f"T = {extent_text(result['threshold'])}" if result["pixel_counts"] else "labels of presence"
    rule = "labels of scans" if unit == "scan" else labels
    excluded_units = f"{unit} without labels is" if excluded == 1 else f"{unit}s without labels are"
    caption = f"{rule}; {excluded} {excluded_units} excluded"
    without = result["unlabelled_patterns"]
    rows = [
        (name, NOT_LABELLED, "–") if name in without else (name, row["slices"], row["patients"])
        for name, row in result["per_pattern"].items()
    ]
    if without:
        caption += f"; whether a {unit} shows none or several patterns is unknown without labels of {joined(without)}"
    else:
        none = f"none (patients: no pattern on any {unit})"
        rows.append((none, result["healthy"]["slices"], result["healthy"]["patients"]))
    rows.append(("all", result["slices"], result["patients"]))
    data = " (phantom data)" if result["data"] == "phantom" else ""
    title = f"{unit.capitalize()}s and patients per pattern{data}"
    output.table(title, ["pattern", f"{unit}s", "patients"], rows, caption=caption)
    if not without:
        output.table(
            f"Patterns per {unit}{data}",
            ["patterns", f"{unit}s", "patients"],
            [(" + ".join(c["patterns"]) or "none", c["slices"], c["patients"]) for c in result["combinations"]],
        )


def folds(
    workspace: o.Workspace = o.HERE,
    number: Annotated[int | None, typer.Option("--folds", help="Number of folds.", min=2, show_default="5")] = None,
    seed: o.OwnSeed = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the existing folds.json.")] = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh/--keep",
            help="If folds.json has another split, --fresh replaces it and --keep stops with an error.",
        ),
    ] = False,
    slices: Annotated[
        str | None,
        typer.Option(help="Path or URL (s3://…) of slices prepared elsewhere. A missing workspace is created."),
    ] = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Split patients into folds, stratified by pattern, or check an existing split. No patient is in two folds.

    Example: `ildfv folds --folds 5`
    """
    if slices is None:
        check_study(workspace)
    from ildfv.pipeline.by_scan import unit_of
    from ildfv.pipeline.split import check_folds, open_workspace, write_folds
    from ildfv.pipeline.units import fold_notes

    space = open_workspace(workspace, slices)
    split = check_folds(space) if check else write_folds(space, n_folds=number, seed=seed, fresh=fresh)
    unit = unit_of(space.slices())
    result: dict = {"folds": split.table(), "unlabelled_patients": len(split.unlabelled)}
    result["warnings"] = fold_notes(space.slices(), split)
    if output.emit(result, as_json=as_json):
        return
    columns = ["fold", "patients", f"{unit}s", *PATTERNS]
    rows = [(r["fold"], r["patients"], r["slices"], *r["slices_with"].values()) for r in result["folds"]]
    caption = f"The columns of patterns contain the number of {unit}s with the pattern."
    output.table("Folds", columns, rows, caption=caption)
    for warning in result["warnings"]:
        output.prose(f"note: {warning}")
