"""The page experiments.html with all results of `ildfv experiment` in a workspace, in the layout of the report."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ildfv.experiments import examples, label_maps, speed
from ildfv.experiments.checklist import checklist
from ildfv.experiments.context import Context
from ildfv.experiments.figures import page_figures
from ildfv.experiments.paper import T4000
from ildfv.experiments.preset_views import by_preset, documents
from ildfv.experiments.scoring import is_scored
from ildfv.experiments.tables import NEITHER
from ildfv.pipeline.report import public_settings
from ildfv.pipeline.tables import slice_statistics
from ildfv.report.content import Example, LabelMap, ReportContent
from ildfv.report.page import write_report
from ildfv.version import versions

FILE = "experiments.html"
NOTE = (
    "This page shows the results of the command `ildfv experiment`. In the tables of the paper, the large number in "
    "each cell is from this run and the small number is from the paper; the first column states the data of both. The "
    "other tables are not in the paper."
)
CHOICES = (
    f"The paper does not state some choices. In these experiments, T1 = T/2 and T2 = 3T/2; slices {NEITHER} are "
    "excluded from the measures of label sets; networks start from random weights; decision "
    "thresholds are those with the largest F on validation patients; fc6 is encoded as one descriptor per slice; the "
    "AUC in Tables 5 and 7 is for T = 4000; the ridge penalty of the linear regression is chosen on validation "
    "patients unless --ridge is given. The learning rate and the number of epochs are listed in the settings below."
)


def write_page(context: Context) -> Path:
    """Writes the page and returns its path. Curves and example slices are shown if their experiments were run."""
    found = documents(context)
    shown = by_preset(context, found)
    of = {name: one.context for one in shown for name in one.names}
    shown_maps, note = _label_maps(of["speed"]) if "speed" in of else ([], "")
    several = (
        [f"The results are from several presets: {'; '.join(one.title for one in shown)}."] if len(shown) > 1 else []
    )
    curves = found["curves"].documents if "curves" in found else []
    content = ReportContent(
        data=context.slices.data,
        title="The paper's experiments",
        statistics=slice_statistics(context.workspace.root),
        folds=context.folds.table(),
        results=[one for one in curves if one.threshold == T4000],
        comparisons=list({(c.a, c.b): c for d in found.values() for c in d.comparisons}.values()),
        examples=_examples(of["examples"]) if "examples" in of else [],
        examples_rule=examples.RULE,
        figures=page_figures(shown[0].context, curves),
        label_maps=shown_maps,
        label_maps_note=note,
        experiments=[*found.values(), checklist(shown)],
        settings={"workspace": public_settings(context.workspace)}
        | {one.title: one.context.preset.extent for one in shown},
        versions=versions(),
        seconds={name: d.seconds for name, d in found.items()},
        notes=[NOTE, CHOICES, *several],
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
    return write_report(context.workspace.root / FILE, content)


def _examples(context: Context) -> list[Example]:
    """The example slices, or [] if their scores were removed, because writing a page must not train networks."""
    return examples.pictures(context) if all(is_scored(context, system) for system in examples.systems(context)) else []


def _label_maps(context: Context) -> tuple[list[LabelMap], str]:
    """(example label maps of the patch baseline, empty if they were removed; a note on their choice and location)."""
    patches = context.patches(speed.PATCHES)
    note = (
        f"The slices are {label_maps.RULE}. NIfTI label maps of all held-out scans are in "
        f"{label_maps.where(context, patches)}."
    )
    return (label_maps.pictures(context, patches) if is_scored(context, patches) else []), note
