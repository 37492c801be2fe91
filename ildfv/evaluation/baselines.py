"""Verdicts on whether a system beats the best baseline, from the interval of the paired AUC difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ildfv.counted import joined
from ildfv.evaluation.documents import Comparison, Interval, Results

PREFIX = "baseline-"  # system names of baselines start with this
MEAN = "mean_auc"
BEATS, NOT_BETTER, UNKNOWN = "yes", "does not beat it", "undetermined: no interval"  # values of Verdict.outcome


@dataclass(frozen=True)
class Verdict:
    """The comparison of a system with the baseline that has the highest AUC on the same slices.

    measure: a pattern, or "mean_auc", the mean over the patterns for which both systems have an AUC. difference: AUC of
    the system minus AUC of the baseline. interval: 95 % interval of the difference.
    """

    system: str
    baseline: str
    measure: str
    difference: float | None
    interval: Interval | None

    @property
    def beats(self) -> bool:
        """Whether the whole 95 % interval of the difference is above 0."""
        return self.interval is not None and self.interval[0] > 0

    @property
    def outcome(self) -> str:
        """BEATS or NOT_BETTER; UNKNOWN if there is no interval, for example because few patients show the pattern."""
        if self.interval is None:
            return UNKNOWN
        return BEATS if self.beats else NOT_BETTER

    @property
    def cell(self) -> str:
        """Text of a table cell, such as "+0.031 (−0.010 to +0.080) against p15; does not beat it"; "–" if undefined."""
        if self.difference is None:
            return "–"
        value = f"{round(self.difference, 3) + 0.0:+.3f}"  # + 0.0: no "-0.000"
        if self.interval is not None:
            value += " ({} to {})".format(*(signed(end, 3) for end in self.interval))
        outcome = "beats it" if self.beats else self.outcome
        return f"{value.replace('-', '−')} against {self.baseline.removeprefix(PREFIX)}; {outcome}"


def signed(end: float, digits: int) -> str:
    """The end of an interval with its sign, such as "-0.00" for -0.001: the sign decides whether a system is better."""
    return f"{end + 0.0:+.{digits}f}"  # + 0.0: no sign of -0.0


def is_baseline(system: str) -> bool:
    """Whether a system of this name is a baseline."""
    return system.startswith(PREFIX)


def worth_comparing(a: str, b: str) -> bool:
    """Whether to run a paired test between two systems: False if both are baselines."""
    return not (is_baseline(a) and is_baseline(b))


def verdicts(results: Sequence[Results], comparisons: Iterable[Comparison]) -> list[Verdict]:
    """Verdicts on every system that is not a baseline, for the mean AUC and for each pattern for which it has an AUC.

    Each system is compared with the best baseline, which is chosen on the same slices. This choice favours the
    baselines. A system has no verdict if `comparisons` has no test of it and the best baseline, for example because
    they were scored on different slices.
    """
    tests = {(c.a, c.b): c.tests for c in comparisons}
    best = best_baselines(results)
    found = []
    for r in results:
        if is_baseline(r.system):
            continue
        for measure in (MEAN, *r.labels):
            if measure not in best or _auc(r, measure) is None:
                continue
            baseline = best[measure]
            key = MEAN if measure == MEAN else f"{measure}/auc"
            if test := tests.get((r.system, baseline)):
                found.append(_verdict(r.system, baseline, measure, 1, test[key]))
            elif test := tests.get((baseline, r.system)):  # if neither test exists, the slices differ
                found.append(_verdict(r.system, baseline, measure, -1, test[key]))
    return found


def best_baselines(results: Sequence[Results]) -> dict[str, str]:
    """The name of the baseline with the highest AUC, by pattern, and with the highest mean AUC, by "mean_auc".

    Patterns for which no baseline has an AUC are omitted.
    """
    found = {}
    for measure in dict.fromkeys([MEAN, *(label for r in results for label in r.labels)]):
        known = [(auc, r.system) for r in results if is_baseline(r.system) and (auc := _auc(r, measure)) is not None]
        if known:
            found[measure] = max(known)[1]
    return found


def labels(found: Iterable[Verdict]) -> dict[str, str]:
    """The `statement` on each system that does not beat the best baseline in every measure, by system name."""
    return {system: statement(system, own) for system, own in _by_system(found).items() if not _beats_all(own)}


def shared_labels(found: Mapping[int | None, Iterable[Verdict]]) -> list[str]:
    """The content of `labels` in as few sentences as possible: equal statements on systems and folds are merged.

    found: verdicts by fold. The key None is for pooled folds, which are not named.
    """
    folds: dict[tuple[str, str], dict[str, list[int]]] = {}  # (singular, plural) statement → system → folds
    for fold, verdicts_of_fold in found.items():
        for system, own in _by_system(verdicts_of_fold).items():
            if not _beats_all(own):
                said = (_predicate(own), _predicate(own, plural=True))
                folds.setdefault(said, {}).setdefault(system, []).extend([] if fold is None else [fold])
    lines = []
    for (singular, plural), folds_of in folds.items():
        systems: dict[tuple[int, ...], list[str]] = {}
        for system, numbers in folds_of.items():
            systems.setdefault(tuple(numbers), []).append(system)
        for places, names in systems.items():
            several = len(names) > 1
            subject = f"he system{'s' * several} {joined(names)} {plural if several else singular}."
            where = f"Fold{'s' * (len(places) > 1)} {joined(map(str, places))}: t" if places else "T"
            lines.append(where + subject)
    return lines


def _by_system(found: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """The verdicts on each system."""
    systems: dict[str, list[Verdict]] = {}
    for verdict in found:
        systems.setdefault(verdict.system, []).append(verdict)
    return systems


def _beats_all(found: Iterable[Verdict]) -> bool:
    return all(verdict.beats for verdict in found)


def statement(system: str, found: Sequence[Verdict]) -> str:
    """A sentence on whether a system beats the best baseline, for `fit`, reports, model cards and predictions.

    It names the measures (patterns, or the mean AUC) in which the system does not beat the baseline, or all measures if
    the system beats it in all. Measures without an interval are named separately, because for them it is unknown
    whether the system is better. The sentence has no numbers, so that it is one short line. found: verdicts on the
    system; empty if no baselines were scored.
    """
    if not found:
        return f"{system} was not compared with baselines, because `ildfv baselines` was not run."
    return f"{system} {_predicate(found)}."


def _predicate(found: Sequence[Verdict], *, plural: bool = False) -> str:
    """The `statement` without its subject. plural: for several systems."""
    lost, unknown = ([v for v in found if v.outcome == outcome] for outcome in (NOT_BETTER, UNKNOWN))
    does, beats, pronoun = ("do", "beat", "they") if plural else ("does", "beats", "it")
    parts = []
    if lost:
        parts.append(f"{does} not beat the best baseline in {_listed(lost)}")
    if unknown:
        parts.append(f"cannot be compared with the best baseline in {_listed(unknown)} (no interval)")
    if not parts:
        parts.append(f"{beats} the best baseline in {_listed(found)}")
    return f"; {pronoun} ".join(parts)


def _listed(found: Sequence[Verdict]) -> str:
    """Text such as "mean AUC and the AUC of honeycomb, reticular and emphysema"."""
    parts = ["mean AUC"] * any(v.measure == MEAN for v in found)
    if patterns := [v.measure for v in found if v.measure != MEAN]:
        parts.append(f"the AUC of {joined(patterns)}")
    return " and ".join(parts)


def _verdict(system: str, baseline: str, measure: str, sign: int, test) -> Verdict:
    difference, interval = test.difference, test.interval
    if sign < 0:
        difference = None if difference is None else -difference
        interval = None if interval is None else (-interval[1], -interval[0])
    return Verdict(system, baseline, measure, difference, interval)


def _auc(results: Results, measure: str) -> float | None:
    return results.overall.mean_auc if measure == MEAN else results.per_pattern[measure].auc
