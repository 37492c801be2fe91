"""Fig. 6: examples of correct and incorrect slices, drawn at random by a fixed rule and seed."""

from __future__ import annotations

from ildfv.evaluation.tables import Table
from ildfv.experiments import curves
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.results import predictions
from ildfv.patterns import PATTERNS
from ildfv.pipeline.report import example_slices
from ildfv.report.content import RULE, Example


def pictures(context: Context) -> list[Example]:
    """Slices of the first held-out fold with the predictions of the main systems; the rule uses those of the CNN."""
    fold = context.held_out()[0]
    found = [next(p for p in predictions(context, s) if p.fold == fold) for s in curves.systems(context)]
    return example_slices(context.slices, context.split(fold).test, found, seed=context.workspace.settings.seed)


def run(context: Context) -> Findings:
    def names(flags) -> str:
        return " + ".join(p for p, on in zip(PATTERNS, flags, strict=True) if on) or "none"

    rows = [
        [example.caption, "this run", context.slices.data, names(example.truth), call.system, names(call.predicted)]
        for example in pictures(context)
        for call in example.predictions
    ]
    columns = ["slice", "source", "data", "present", "system", "called"]
    return Findings([Table("Fig. 6. Example slices", columns, rows, f"{RULE} The slices are in experiments.html.")])


EXPERIMENT = Experiment("examples", "Example slices, correct and incorrect", "Figure 6", run)
