"""Commands `doctor` and `verify`: checks of this installation and of the files of a workspace."""

from __future__ import annotations

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.cli.early import check_study
from ildfv.counted import counted


def doctor(as_json: o.Json = False, verbose: o.Verbose = 0) -> None:
    """Check which packages are installed and which devices and backends work, and print a remedy for each problem.

    Example: `ildfv doctor`
    """
    from ildfv.doctor import examine

    findings = examine()
    if not output.emit({"findings": findings}, as_json=as_json):
        rows = [(f["what"], f["state"], f["detail"]) for f in findings]
        output.table("ildfv on this machine", ["part", "state", "found"], rows)
        output.lines("Remedies", [(f["what"], f["advice"]) for f in findings if f["advice"]], wrapped=False)
    if any(finding["state"] == "broken" for finding in findings):
        raise typer.Exit(1)


def verify(workspace: o.Workspace = o.HERE, as_json: o.Json = False, verbose: o.Verbose = 0) -> None:
    """Check every file of the workspace, and print a remedy for each fault.

    Slices, models, encodings and results are compared with their SHA-256 checksums. Settings and folds have no
    checksum, because they may be edited. Their values are checked instead.

    Example: `ildfv verify --workspace study`
    """
    check_study(workspace)
    from ildfv.pipeline.verify import verify_workspace

    result = verify_workspace(workspace)
    if not output.emit(result, as_json=as_json):
        for fault in result["faults"]:
            output.record(f"fault: {fault}", style="red")
        files, faults = result["checked"], len(result["faults"])
        output.out.print(f"{counted(files, 'file')} checked, {counted(faults, 'fault')}")
    if result["faults"]:
        raise typer.Exit(1)
