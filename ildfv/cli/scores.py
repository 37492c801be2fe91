"""The table of scores that `train` and `regress` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ildfv.cli import output
from ildfv.counted import counted
from ildfv.patterns import extent_text
from ildfv.pipeline.choices import LINEAR

if TYPE_CHECKING:
    from ildfv.evaluation.documents import Results


def show_scores(result: Results | None, as_json: bool) -> None:
    """Prints a results document as a table: F and AUC per pattern and on average, with intervals by patient.

    result: None on ranks other than 0.
    """
    if output.emit(result, as_json=as_json) or result is None:
        return
    from ildfv.evaluation.documents import SCAN
    from ildfv.evaluation.results import undecided

    rows = []
    for pattern, row in result.per_pattern.items():
        f, auc = (output.with_interval(*row.estimate(measure)) for measure in ("f", "auc"))
        labelled = row.prevalence is not None
        rows.append((pattern, row.positives if labelled else "not labelled", row.positive_patients, f, auc))
    overall = result.overall
    defined = all(row.f is not None and row.auc is not None for row in result.per_pattern.values())
    mean = (
        f"mean of {len(rows)}" if defined else "mean where defined",
        "",
        "",
        *(output.with_interval(*overall.estimate(measure)) for measure in ("macro_f", "mean_auc")),
    )
    data = "PHANTOM data, not clinical" if result.data == "phantom" else "user data"
    by_scan = result.unit == SCAN
    labels = f"T = {extent_text(result.threshold)}" if result.pixel_counts else "labels of presence"
    rule = "labels of scans, measures per scan" if by_scan else labels
    output.table(
        f"{result.system}, held-out fold {result.fold}{', per scan' * by_scan}: {data}",
        ["pattern", f"{result.unit}s\nwith it", "patients\nwith it", "F (95 %)", "AUC (95 %)"],
        [*rows, mean],
        caption=f"{counted(result.n_slices, f'test {result.unit}')} of {counted(result.n_patients, 'patient')}, "
        f"{rule}. Thresholds are from {threshold_source(result)}. Intervals are from resampled patients, if at least 5 "
        "show the pattern.",
    )
    output.prose(
        f"Label sets: accuracy {output.cell(overall.accuracy)}, precision {output.cell(overall.precision)}, "
        f"recall {output.cell(overall.recall)}, F {output.cell(overall.f)}"
    )
    for line in undecided(result):
        output.prose(f"note: {line}")


def threshold_source(result: Results) -> str:
    """The scores to which the decision thresholds of a network or a regression were fitted."""
    head = result.settings.get("regress", {}).get("head", LINEAR)
    return "validation patients" if head == LINEAR else "cross-validated scores of training patients"
