"""experiments.html: everything that `ildfv experiment` has found in a workspace, on the report's page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ildfv.experiments import curves, examples, maps, speed
from ildfv.experiments.checklist import checklist
from ildfv.experiments.context import Lab
from ildfv.experiments.preset_views import by_preset, documents
from ildfv.pipeline.report import public_settings
from ildfv.pipeline.tables import slice_statistics
from ildfv.report.content import Example, LabelMap, ReportContent
from ildfv.report.page import write_report
from ildfv.version import versions

FILE = "experiments.html"
NOTE = "Results of the command ildfv experiment. Every table says on what data each number was obtained."


def write_page(lab: Lab) -> Path:
    """The page of all experiments with results; curves and examples where theirs were run."""
    found = documents(lab)
    shown = by_preset(lab, found)
    of = {name: one.lab for one in shown for name in one.names}
    label_maps, note = _label_maps(of["speed"]) if "speed" in of else ([], "")
    several = [f"Not all results are of one preset: {'; '.join(one.title for one in shown)}."] if len(shown) > 1 else []
    content = ReportContent(
        data=lab.slices.data,
        title="The paper's experiments",
        statistics=slice_statistics(lab.workspace.root),
        folds=lab.folds.table(),
        results=found["curves"].documents if "curves" in found else [],
        comparisons=list({(c.a, c.b): c for d in found.values() for c in d.comparisons}.values()),
        examples=_examples(of["examples"]) if "examples" in of else [],
        label_maps=label_maps,
        label_maps_note=note,
        experiments=[*found.values(), checklist(shown)],
        settings={"workspace": public_settings(lab.workspace)} | {one.title: one.lab.preset.extent for one in shown},
        versions=versions(),
        seconds={name: d.seconds for name, d in found.items()},
        notes=[NOTE, *several],
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
    return write_report(lab.workspace.root / FILE, content)


def _examples(lab: Lab) -> list[Example]:
    """The example slices; none where scores were removed since, as a page trains nothing."""
    return examples.pictures(lab) if all(map(lab.is_scored, curves.systems(lab))) else []


def _label_maps(lab: Lab) -> tuple[list[LabelMap], str]:
    """A few label maps of the patch baseline, under the same condition; how they were chosen, where all of them lie."""
    patches = lab.patches(speed.PATCHES)
    note = f"Slices {maps.RULE}. Maps of all held-out scans lie as NIfTI in {maps.where(lab, patches)}."
    return (maps.pictures(lab, patches) if lab.is_scored(patches) else []), note
