"""Tables of `fit`: the AUC of each system over all folds, and its difference from the best baseline."""

from __future__ import annotations

from collections.abc import Sequence

from ildfv.cli import output
from ildfv.counted import counted
from ildfv.evaluation.baselines import BEATS, MEAN, PREFIX, is_baseline, signed
from ildfv.evaluation.intervals import MIN_PATIENTS
from ildfv.patterns import extent_text
from ildfv.pipeline.used_inputs import described


def show(result: dict, *, with_inputs: bool) -> None:
    """Prints the result of `pipeline.recipes.fit`.

    with_inputs: whether to print the inputs that each head used.
    """
    systems = list(result["systems"].items())  # by decreasing mean AUC, then the baselines
    patterns = list(next(iter(result["systems"].values()))["auc"])
    by_scan = " per scan" if result.get("unit") == "scan" else ""
    data = "PHANTOM data, not clinical" if result["data"] == "phantom" else "user data"
    output.table(
        f"Recipe {result['recipe']}, AUC{by_scan} (95 %): {data}",
        ["system", *map(stacked, patterns), "mean"],
        [(name, *auc_cells(one)) for name, one in systems],
        caption=_tested(result),
    )
    if result["supported"] and not any(one["mean_auc_interval"] for _, one in systems):
        output.table(
            f"Mean AUC (95 %) of the patterns with enough patients: {', '.join(result['supported'])}",
            ["system", "mean"],
            [
                (name, output.above_interval(one["supported_mean_auc"], one["supported_mean_auc_interval"]))
                for name, one in systems
            ],
        )
    against = result["against_baseline"]
    if against:
        output.table(
            "AUC minus that of the best baseline (95 %, paired by patient)",
            ["system", *map(stacked, patterns), "mean"],
            difference_rows(against, [name for name, _ in systems if not is_baseline(name)], [*patterns, MEAN]),
            caption="* The system beats the best baseline: the whole interval is above 0. "
            * any(one["outcome"] == BEATS for one in against)
            + f"The best baseline has the highest AUC on these slices: {best_baselines(against)}.",
        )
    if _any_without_interval(result):
        output.prose(
            f"note: a value has no interval if it depends on fewer than {MIN_PATIENTS} patients, if almost none or "
            "almost all patients show the pattern, or if it is equal on all resamples, such as the AUC of a constant"
        )
    if with_inputs:
        for name, inputs in result["inputs"].items():
            output.prose(f"inputs of {name}: {described(inputs)}")


def best_system(result: dict) -> str | None:
    """The name of the system with the highest mean AUC; None if the result contains only baselines."""
    return next((name for name in result["systems"] if not is_baseline(name)), None)  # the best one is first


def _any_without_interval(result: dict) -> bool:
    """Whether any value in the tables has no interval."""
    systems = result["systems"].values()
    values = [(one["auc"][pattern], one["auc_interval"][pattern]) for one in systems for pattern in one["auc"]]
    values += [(one["mean_auc"], one["mean_auc_interval"]) for one in systems]
    values += [(one["difference"], one["interval"]) for one in result["against_baseline"]]
    return any(value is not None and interval is None for value, interval in values)


def auc_cells(system: dict) -> list[str]:
    """The AUC of each pattern and the mean AUC of a system, each above its interval."""
    rows = [(system["auc"][pattern], system["auc_interval"][pattern]) for pattern in system["auc"]]
    return [output.above_interval(*row) for row in (*rows, (system["mean_auc"], system["mean_auc_interval"]))]


def difference_rows(against: Sequence[dict], systems: Sequence[str], measures: Sequence[str]) -> list[list[str]]:
    """One row per system, with a cell per measure.

    against: `against_baseline` of `pipeline.recipes.fit`. A measure without a difference has the cell "–".
    """
    cells = {(one["system"], one["measure"]): _difference(one) for one in against}
    return [[name, *(cells.get((name, measure), "–") for measure in measures)] for name in systems]


def best_baselines(against: Sequence[dict]) -> str:
    """The best baselines with their measures, such as "histogram (ground glass, emphysema), mean-density (mean)"."""
    measures: dict[str, list[str]] = {}
    for measure, baseline in {one["measure"]: one["baseline"] for one in against}.items():
        measures.setdefault(baseline.removeprefix(PREFIX), []).append("mean" if measure == MEAN else measure)
    return ", ".join(f"{baseline} ({', '.join(names)})" for baseline, names in measures.items())


def stacked(pattern: str) -> str:
    """The name of a pattern with one word per line, for narrow columns."""
    return pattern.replace(" ", "\n")


def _difference(one: dict) -> str:
    """Such as "*+0.199" above "+.11,+.31"; the star marks a system that beats the baseline."""
    if one["difference"] is None:
        return "–"
    star = "*" if one["outcome"] == BEATS else ""
    value = f"{star}{round(one['difference'], 3) + 0.0:+.3f}"  # + 0.0: no "-0.000"
    if one["interval"] is None:
        return value
    return value + "\n" + ",".join(signed(end, 2).replace("0.", ".") for end in one["interval"])


def _tested(result: dict) -> str:
    by_scan = result.get("unit") == "scan"
    tested = counted(result["scans"], "scan") if by_scan else counted(result["slices"], "slice")
    labels = f"T = {extent_text(result['threshold'])}" if result["pixel_counts"] else "labels of presence"
    rule = "labels of scans, measures per scan" if by_scan else labels
    folds, patients = counted(len(result["folds"]), "fold"), counted(result["patients"], "patient")
    return f"{folds} pooled: {tested} of {patients}, {rule}; intervals are from resampled patients"
