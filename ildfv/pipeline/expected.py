"""Decisions, calibration and expected performance of a predictor's heads, from scores on held-out patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.evaluation.baselines import is_baseline, verdicts
from ildfv.evaluation.documents import Results
from ildfv.evaluation.results import compare, evaluate
from ildfv.evaluation.thresholds import Decisions, Sigmoid, fit_sigmoid
from ildfv.inference import schema
from ildfv.inference.conformal import Conformal, fewest_patients
from ildfv.inference.heads import estimated_pixels
from ildfv.patterns import PRESENT
from ildfv.pipeline.scored import Scored, current_results, predictions_of
from ildfv.pipeline.workspace import Workspace

KNOTS = 33  # maximum number of knots of a curve from scores to pixels
FEWEST_SCANS = 5  # minimum number of scans for an interval of the error
SETS_LEVEL = 0.8  # of conformal sets: 0.9 would need 9 held-out patients with each pattern in the fold, 0.8 needs 4


@dataclass(frozen=True)
class HeldOut:
    """All current results of a workspace, and the scores on held-out patients that they were computed from."""

    workspace: Workspace
    slices: Slices
    results: list[Results]
    scored: dict[tuple[str, int], Scored]  # by system and fold

    @classmethod
    def read(cls, workspace: Workspace, slices: Slices) -> HeldOut:
        """The held-out scores of a workspace."""
        current, _ = current_results(workspace, slices)
        scored = {(r.system, r.fold): predictions_of(workspace, slices, name, r) for name, r in current.items()}
        return cls(
            workspace, slices, list(current.values()), {(s, f): v for (s, f), v in scored.items() if f is not None}
        )

    def folds(self, system: str) -> list[int]:
        """The folds that a system is scored on."""
        return sorted(fold for name, fold in self.scored if name == system)

    def of(self, system: str, fold: int, how: str) -> Results:
        """The current results of a system on a fold. InputError: there are none. how: the command that creates them."""
        found = [r for r in self.results if r.system == system and r.fold == fold]
        check(bool(found), f"{system} must have current results for fold {fold}, got none: run `{how}`")
        return found[0]

    def of_fold(self, results: Results, target: str) -> dict[str, Any]:
        """Fields of a head that was fitted without a fold: thresholds and performance are those of its results."""
        assert results.fold is not None
        return self._fields(
            results, results.decisions[str(results.fold)], target, self.folds(results.system), [results.fold]
        )

    def pooled(self, system: str, folds: Sequence[int], target: str, how: str) -> dict[str, Any]:
        """Fields of a head that is fitted on all patients, from the cross-validated scores of all folds."""
        missing = sorted(set(folds) - set(self.folds(system)))
        check(
            not missing,
            f"--all-patients needs results of {system} for every fold, got none for {', '.join(map(str, missing))}: "
            f"run `{how}` for each",
        )
        predictions = [self.scored[system, fold][1] for fold in folds]
        presence = np.concatenate([np.asarray(p.presence) for p in predictions])
        decisions = Decisions.fit(presence, np.concatenate([p.scores for p in predictions]))
        settings = self.workspace.settings
        results = evaluate(
            predictions, data=self.slices.data, threshold=settings.threshold, seed=settings.seed, settings={}
        )
        return self._fields(results, decisions, target, folds, folds)

    def _fields(
        self,
        results: Results,
        decisions: Decisions,
        target: str,
        calibrated: Sequence[int],
        tested: Sequence[int],
    ) -> dict[str, Any]:
        patterns = {
            name: schema.PatternPerformance(
                auc=row.auc, auc_interval=row.auc_interval, f=row.f, f_interval=row.f_interval, positives=row.positives
            )
            for name, row in results.per_pattern.items()
        }
        indices = np.concatenate([self.scored[results.system, fold][0] for fold in calibrated])
        scores = np.concatenate([self.scored[results.system, fold][1].scores for fold in calibrated])
        presence = np.concatenate([np.asarray(self.scored[results.system, f][1].presence) for f in calibrated])
        counts, series = self.slices.counts[indices], self.slices.series[indices]
        curves = [] if target == "counts" else count_curves(counts, scores)
        predictions = [self.scored[results.system, fold][1] for fold in tested]
        return {
            "threshold": results.threshold,
            "thresholds": list(decisions.thresholds),
            "sigmoids": _sigmoids(decisions.sigmoids),
            "scan_sigmoids": _sigmoids(scan_sigmoids(series, presence, scores)),
            "counts": curves,
            "scan_errors": scan_errors(series, counts, estimated_pixels(scores, results.threshold, curves)),
            **conformal_sets(
                np.concatenate([np.asarray(p.presence) for p in predictions]),
                np.concatenate([p.scores for p in predictions]),
                np.concatenate([p.patients for p in predictions]),
                cross_validated=len(predictions) > 1,
            ),
            "performance": schema.Performance(
                data=results.data,
                fold=results.fold,
                folds=list(tested),
                slices=results.n_slices,
                patients=results.n_patients,
                patterns=patterns,
                baselines=self._baselines(results, tested),
            ),
        }

    def _baselines(self, results: Results, folds: Sequence[int]) -> list[schema.Baseline]:
        """The head against the best baseline on the same slices; empty unless baselines are scored on all folds."""
        names = sorted({name for name, _ in self.scored if is_baseline(name)})
        names = [name for name in names if set(folds) <= set(self.folds(name))]
        system = [self.scored[results.system, fold] for fold in folds]
        settings, every, tests = self.workspace.settings, [results], []
        for name in names:
            rival = [self.scored[name, fold] for fold in folds]
            if not all(np.array_equal(a, b) for (a, _), (b, _) in zip(system, rival, strict=True)):
                continue
            parts = [p for _, p in rival]
            every.append(
                evaluate(parts, data=self.slices.data, threshold=settings.threshold, seed=settings.seed, settings={})
            )
            tests.append(compare([p for _, p in system], parts, seed=settings.seed))
        return [
            schema.Baseline(
                measure=one.measure,
                baseline=one.baseline,
                difference=one.difference,
                interval=one.interval,
                beats=one.beats,
            )
            for one in verdicts(every, tests)
        ]


def scan_sigmoids(series: np.ndarray, presence: np.ndarray, scores: np.ndarray) -> tuple[Sigmoid | None, ...]:
    """Platt's calibration of the highest score of a scan, for each pattern; None unless both classes occur.

    A pattern is present on a scan if it is present on any slice, and absent if it is known to be absent on all slices.
    """
    scans, of = np.unique(series, return_inverse=True)
    highest = np.full((len(scans), scores.shape[1]), -np.inf)
    np.maximum.at(highest, of, scores)
    shown, unknown = np.zeros(highest.shape, bool), np.zeros(highest.shape, bool)
    np.logical_or.at(shown, of, presence == 1)
    np.logical_or.at(unknown, of, presence < 0)
    truth = np.where(shown, 1, np.where(unknown, -1, 0))
    return tuple(fit_sigmoid(y[y >= 0], f[y >= 0]) for y, f in zip(truth.T, highest.T, strict=True))


def count_curves(counts: np.ndarray, scores: np.ndarray) -> list[schema.Curve | None]:
    """The expected pixels of each pattern as an increasing function of its score, by isotonic regression.

    None for a pattern without a slice whose pixels are known.
    """
    found: list[schema.Curve | None] = []
    for pixels, f in zip(counts.T.astype(np.float64), scores.T, strict=True):
        known = (pixels >= 0) & (pixels < PRESENT)
        if len(np.unique(f[known])) < 2:
            found.append(None)
            continue
        fitted = IsotonicRegression(out_of_bounds="clip").fit(f[known], pixels[known])
        x = fitted.X_thresholds_[np.unique(np.linspace(0, len(fitted.X_thresholds_) - 1, KNOTS).astype(int))]
        found.append(schema.Curve(scores=x.tolist(), pixels=fitted.predict(x).tolist()))
    return found


def scan_errors(series: np.ndarray, counts: np.ndarray, pixels: np.ndarray) -> list[schema.ScanError | None]:
    """The error of the mean estimated pixels of a slice, over scans; None below five scans with known pixels.

    series (N,), counts and pixels (N, C): known and estimated.
    """
    scans, of = np.unique(series, return_inverse=True)
    found: list[schema.ScanError | None] = []
    for known, estimated in zip(counts.T.astype(np.float64), pixels.T, strict=True):
        complete = (known >= 0) & (known < PRESENT) & np.isfinite(estimated)
        sizes = np.bincount(of, minlength=len(scans))
        whole = np.bincount(of, complete, minlength=len(scans)) == sizes
        errors = (np.bincount(of, np.where(complete, estimated - known, 0), minlength=len(scans)) / sizes)[whole]
        enough = len(errors) >= FEWEST_SCANS
        found.append(schema.ScanError(pixels=float(np.sqrt(np.mean(errors**2))), scans=len(errors)) if enough else None)
    return found


def conformal_sets(
    presence: np.ndarray, scores: np.ndarray, patients: np.ndarray, *, cross_validated: bool
) -> dict[str, Any]:
    """The fields `conformal` and `no_conformal` of a head, from slices of patients that it was not fitted on.

    presence: 1, 0, −1 unknown (N, C). cross_validated: whether the scores come from the models of several folds. The
    promise of the sets is for the scores of one model; for those of several it is approximate.
    """
    found = Conformal.fit(presence, scores, patients, level=SETS_LEVEL)
    if all(value is None for value in (*found.present_from, *found.absent_to)):
        most = max(*found.present_patients, *found.absent_patients)
        return {
            "no_conformal": f"no pattern is known to be present or absent in at least {fewest_patients(SETS_LEVEL)} "
            f"held-out patients (at most in {most})"
        }
    sets = schema.ConformalSets(
        level=found.level,
        present_from=list(found.present_from),
        absent_to=list(found.absent_to),
        present_patients=list(found.present_patients),
        absent_patients=list(found.absent_patients),
        cross_validated=cross_validated,
    )
    return {"conformal": sets, "no_conformal": ""}


def _sigmoids(found: Sequence[Sigmoid | None]) -> list[schema.Sigmoid | None]:
    return [None if s is None else schema.Sigmoid(slope=s.slope, intercept=s.intercept) for s in found]
