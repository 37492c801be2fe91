"""Fig. 6: example slices, right and wrong, drawn by a rule and a seed."""

from __future__ import annotations

from ildfv.evaluation.tables import Table
from ildfv.experiments import curves
from ildfv.experiments.context import Lab
from ildfv.experiments.registry import Experiment, Findings
from ildfv.patterns import PATTERNS
from ildfv.pipeline.report import example_slices
from ildfv.report.content import RULE, Example


def pictures(lab: Lab) -> list[Example]:
    """Slices of the first held-out fold with what the main systems say of them; the CNN is the judge."""
    fold = lab.held_out()[0]
    found = [next(p for p in lab.predictions(s) if p.fold == fold) for s in curves.systems(lab)]
    return example_slices(lab.slices, lab.roles(fold).test, found, seed=lab.workspace.settings.seed)


def run(lab: Lab) -> Findings:
    def names(flags) -> str:
        return " + ".join(p for p, on in zip(PATTERNS, flags, strict=True) if on) or "none"

    rows = [
        [example.caption, "this run", lab.slices.data, names(example.truth), call.system, names(call.predicted)]
        for example in pictures(lab)
        for call in example.predictions
    ]
    columns = ["slice", "source", "data", "present", "system", "called"]
    return Findings([Table("Fig. 6. Example slices", columns, rows, f"{RULE} experiments.html shows them.")])


EXPERIMENT = Experiment("examples", "Example slices, right and wrong", "Figure 6", run)
