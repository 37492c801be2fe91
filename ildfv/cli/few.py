"""baselines and fit: the systems that every other is measured against, and all folds in one command."""

from __future__ import annotations

from typing import Annotated

import typer

from ildfv.cli import options as o
from ildfv.cli import output


def baselines(
    workspace: o.Workspace = o.HERE,
    fold: Annotated[int | None, typer.Option(help="Held-out fold.", min=0, show_default="every fold")] = None,
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Score the baselines on held-out folds: LAA-950, P15, mean density, high-attenuation area, histogram, lung area.

    Each is computed from the HU inside the lung; its direction is fitted on training patients.

    Example: `ildfv baselines --fold 0`
    """
    from ildfv.patterns import PATTERNS
    from ildfv.pipeline.baselines import score_baselines

    results = score_baselines(workspace, fold=fold, progress=output.progress(verbose, workspace=workspace))
    if output.emit(results, as_json=as_json):
        return
    rows = [
        (r.system, r.fold, *(output.with_interval(*r.per_pattern[p].estimate("auc")) for p in PATTERNS))
        for r in results
    ]
    data = "PHANTOM data, not clinical" if results[0].data == "phantom" else "user data"
    output.table(f"Baselines, AUC (95 %): {data}", ["system", "fold", *PATTERNS], rows)


COMMANDS = [(command, "Learning") for command in (baselines,)]
