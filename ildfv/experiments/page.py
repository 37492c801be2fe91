"""experiments.html: everything that `ildfv experiment` has found in a workspace, on the report's page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ildfv.experiments import curves, examples, maps, speed
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
    # A page trains nothing: what another preset has found is shown as it was written down.
    scored = all(map(lab.is_scored, curves.systems(lab)))
    patches = lab.patches(speed.PATCHES)
    content = ReportContent(
        data=lab.slices.data,
        title="The paper's experiments",
        statistics=slice_statistics(lab.workspace.root),
        folds=lab.folds.table(),
        results=found["curves"]["documents"] if "curves" in found else [],
        comparisons=list({(c["a"], c["b"]): c for d in ordered for c in d["comparisons"]}.values()),
        examples=examples.pictures(lab) if "examples" in found and scored else [],
        label_maps=maps.pictures(lab, patches) if "speed" in found and lab.is_scored(patches) else [],
        label_maps_note=f"Slices {maps.RULE}. Maps of all held-out scans lie as NIfTI in {maps.where(lab, patches)}.",
        experiments=[*ordered, checklist(lab)],
        settings={"workspace": lab.workspace.settings.model_dump(exclude={"salt"}), "preset": vars(lab.preset)},
        versions=versions(),
        seconds={name: d["seconds"] for name, d in found.items()},
        notes=[NOTE],
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
    return write_report(lab.workspace.root / FILE, content)
