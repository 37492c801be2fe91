"""experiments.html: everything that `ildfv experiment` has found in a workspace, on the report's page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ildfv.experiments import curves, examples
from ildfv.experiments.checklist import checklist
from ildfv.experiments.lab import Lab
from ildfv.experiments.registry import experiments
from ildfv.pipeline.report import experiment_documents
from ildfv.pipeline.tables import slice_statistics
from ildfv.report.content import ReportContent
from ildfv.report.page import write_report
from ildfv.version import versions

FILE = "experiments.html"
NOTE = "Results of the command ildfv experiment. Every table says on what data each number was obtained."


def write_page(lab: Lab) -> Path:
    """The page of all experiments with results; curves and examples where theirs were run."""
    found = experiment_documents(lab.workspace, lab.slices)
    ordered = [found[name] for name in experiments() if name in found]
    shown = [lab.documents(system) for system in curves.systems(lab)] if "curves" in found else []
    content = ReportContent(
        data=lab.slices.data,
        title="The paper's experiments",
        statistics=slice_statistics(lab.workspace.root),
        folds=lab.folds.table(),
        results=[one for d in shown for one in (d["pooled"], *d["folds"])],
        comparisons=list({(c["a"], c["b"]): c for d in ordered for c in d["comparisons"]}.values()),
        examples=examples.pictures(lab) if "examples" in found else [],
        experiments=[*ordered, checklist(lab)],
        settings={"workspace": lab.workspace.settings.model_dump(exclude={"salt"}), "preset": vars(lab.preset)},
        versions=versions(),
        seconds={name: d["seconds"] for name, d in found.items()},
        notes=[NOTE],
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
    return write_report(lab.workspace.root / FILE, content)
