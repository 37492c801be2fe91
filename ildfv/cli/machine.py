"""doctor and verify: is this machine fit, and is what lies on it whole?"""

from __future__ import annotations

import typer

from ildfv.cli import options as o
from ildfv.cli import output


def doctor(as_json: o.Json = False, verbose: o.Verbose = 0) -> None:
    """Say what is installed, which devices and backends work, and what to do about what does not.

    Example: `ildfv doctor`
    """
    from ildfv.doctor import examine

    findings = examine()
    if not output.emit({"findings": findings}, as_json=as_json):
        rows = [(f["what"], f["state"], f["detail"], f["advice"] or "") for f in findings]
        output.table("ildfv on this machine", ["part", "state", "found", "what to do"], rows)
    if any(finding["state"] == "broken" for finding in findings):
        raise typer.Exit(1)


def verify(workspace: o.Workspace = o.HERE, as_json: o.Json = False, verbose: o.Verbose = 0) -> None:
    """Check the hash of every part and model in the workspace.

    Example: `ildfv verify --workspace study`
    """
    from ildfv.pipeline.verify import verify_workspace

    result = verify_workspace(workspace)
    if not output.emit(result, as_json=as_json):
        for fault in result["faults"]:
            output.out.print(f"[red]fault:[/] {fault}", soft_wrap=True)
        output.out.print(f"{result['checked']} files checked, {len(result['faults'])} faults")
    if result["faults"]:
        raise typer.Exit(1)


COMMANDS = [(command, "Machine") for command in (doctor, verify)]
