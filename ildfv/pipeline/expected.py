"""Decision thresholds, calibration and expected performance of exported heads, from scores of held-out patients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.evaluation.baselines import is_baseline, verdicts
from ildfv.evaluation.comparisons import compare
from ildfv.evaluation.documents import SCAN, Results
from ildfv.evaluation.results import evaluate
from ildfv.evaluation.thresholds import Decisions
from ildfv.inference import schema
from ildfv.inference.conformal import Conformal, fewest_patients
from ildfv.inference.extent import in_lung
from ildfv.inference.heads import estimated_pixels
from ildfv.patterns import PRESENT, Threshold
from ildfv.pipeline.scan_calibration import exported_sigmoids, highest_of_scans, scan_fields
from ildfv.pipeline.scored import Scored, current_results, predictions_of
from ildfv.pipeline.units import has_pixel_counts
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.windows import GRID

COUNTS, SCALED = "counts", "scaled counts"  # targets of heads
KNOTS = 33  # maximum number of points of a curve from score to pixels
FEWEST_SCANS = 5  # minimum number of scans for an estimate of the error
SETS_LEVEL = 0.8  # level of conformal sets, which needs 4 held-out patients with a pattern; 0.9 would need 9


def head_target(target: str, unit: Threshold, threshold: Threshold, grids: np.ndarray) -> str:
    """The target of an exported head. unit: T of the regression targets. threshold: T of the results.

    grids: for each slice, the rows or columns of the scan's own grid, whichever are more (`Slices.grids`).

    "counts" means that the scores estimate pixels of a 512×512 grid in units of `threshold`. Scores in other units, for
    other grids, or in percent of the lung, are "scaled counts": as for the other targets, a curve converts them to
    pixels.
    """
    in_pixels = unit == threshold and not isinstance(threshold, str) and bool((grids == GRID).all())
    return SCALED if target == COUNTS and not in_pixels else target


@dataclass(frozen=True)
class HeldOut:
    """All current results of a workspace, and the scores of held-out patients from which they were computed."""

    workspace: Workspace
    slices: Slices
    results: list[Results]
    scored: dict[tuple[str, int], Scored]  # by system and fold

    @classmethod
    def read(cls, workspace: Workspace, slices: Slices) -> HeldOut:
        """The current results and scores of a workspace."""
        current, _ = current_results(workspace, slices)
        scored = {(r.system, r.fold): predictions_of(workspace, slices, name, r) for name, r in current.items()}
        return cls(
            workspace, slices, list(current.values()), {(s, f): v for (s, f), v in scored.items() if f is not None}
        )

    def folds(self, system: str) -> list[int]:
        """The folds on which a system was scored."""
        return sorted(fold for name, fold in self.scored if name == system)

    def of(self, system: str, fold: int, how: str) -> Results:
        """The current results of a system on a fold. how: the command that creates them, for the error message.

        InputError: there are no current results.
        """
        found = [r for r in self.results if r.system == system and r.fold == fold]
        check(bool(found), f"{system} must have current results for fold {fold}, got none: run `{how}`")
        return found[0]

    def of_fold(self, results: Results, target: str) -> dict[str, Any]:
        """The fields of an exported head that was fitted without one fold. Thresholds are those of `results`."""
        assert results.fold is not None
        return self._fields(
            results, results.decisions[str(results.fold)], target, self.folds(results.system), [results.fold]
        )

    def pooled(self, system: str, folds: Sequence[int], target: str, how: Callable[[int], str]) -> dict[str, Any]:
        """The fields of an exported head that is fitted on all patients, from the cross-validated scores of all folds.

        how: function from a fold to the command that scores the system on this fold, for the error message.
        InputError: a fold has no current results.
        """
        missing = sorted(set(folds) - set(self.folds(system)))
        check(
            not missing,
            f"--all-patients needs results of {system} for every fold, got none for {', '.join(map(str, missing))}: "
            f"run `{how(missing[0] if missing else 0)}`"
            + (", and the same for the other folds" if len(missing) > 1 else ""),
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
        """The fields of an exported head.

        calibrated: folds on whose scores the head is calibrated. tested: folds on which its performance is measured.
        """
        patterns = {
            name: schema.PatternPerformance(
                auc=row.auc, auc_interval=row.auc_interval, f=row.f, f_interval=row.f_interval, positives=row.positives
            )
            for name, row in results.per_pattern.items()
        }
        performance = schema.Performance(
            data=results.data,
            fold=results.fold,
            folds=list(tested),
            slices=results.n_slices,
            patients=results.n_patients,
            patterns=patterns,
            baselines=self._baselines(results, tested),
            unit=results.unit,
        )
        if results.unit == SCAN:
            return self._fields_of_scans(results, decisions, calibrated) | {"performance": performance}
        indices = np.concatenate([self.scored[results.system, fold][0] for fold in calibrated])
        scores = np.concatenate([self.scored[results.system, fold][1].scores for fold in calibrated])
        presence = np.concatenate([np.asarray(self.scored[results.system, f][1].presence) for f in calibrated])
        counts, series, inside = self.slices.counts[indices], self.slices.series[indices], self._in_lung(indices)
        counts = on_paper_grid(counts, self.slices.grids[indices])
        curves = [] if target == COUNTS else count_curves(counts, scores)
        predictions = [self.scored[results.system, fold][1] for fold in tested]
        return {
            "threshold": results.threshold,
            "pixel_counts": has_pixel_counts(self.slices),
            "thresholds": list(decisions.thresholds),
            "sigmoids": exported_sigmoids(decisions.sigmoids),
            **scan_fields(
                *highest_of_scans(
                    series[inside], presence[inside], scores[inside], self.slices.patients[indices][inside]
                )
            ),
            "counts": curves,
            "scan_errors": scan_errors(series, counts, estimated_pixels(scores, results.threshold, curves)),
            **conformal_sets(
                np.concatenate([np.asarray(p.presence) for p in predictions]),
                np.concatenate([p.scores for p in predictions]),
                np.concatenate([p.patients for p in predictions]),
                cross_validated=len(predictions) > 1,
            ),
            "performance": performance,
        }

    def _fields_of_scans(self, results: Results, decisions: Decisions, calibrated: Sequence[int]) -> dict[str, Any]:
        """The fields of a head that was fitted to labels of scans: the scores of slices cannot be calibrated."""
        parts = [self.scored[results.system, fold][1] for fold in calibrated]
        presence, scores = (np.concatenate([np.asarray(getattr(p, n)) for p in parts]) for n in ("presence", "scores"))
        patients = np.concatenate([p.patients for p in parts])
        none = [None] * len(decisions.thresholds)
        return {
            "threshold": results.threshold,
            "pixel_counts": False,
            "thresholds": list(decisions.thresholds),
            "sigmoids": none,
            **scan_fields(presence, scores, patients),
            "counts": none,
            "scan_errors": none,
            "no_conformal": "conformal sets need labels of slices, but only whole scans were labelled",
        }

    def _in_lung(self, indices: np.ndarray) -> np.ndarray:
        """Whether each of these slices is in the lung (`in_lung`), as in the prediction of its scan."""
        inside = np.empty(len(self.slices), bool)
        for first, end in itertools.pairwise(self.slices.starts):
            inside[first:end] = in_lung(np.arange(first, end), self.slices.lung[first:end])
        return inside[indices]

    def _baselines(self, results: Results, folds: Sequence[int]) -> list[schema.Baseline]:
        """The comparisons of a head with the best baseline on the same slices; [] if none was scored on all folds."""
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


def on_paper_grid(counts: np.ndarray, grids: np.ndarray) -> np.ndarray:
    """Numbers of pixels (n, C) of the scan's own grid, converted to a 512×512 grid of the same side length in mm.

    Predictions estimate pixels of the 512×512 grid (`grid_scale`). Unknown numbers, and presence without a number, are
    unchanged.
    """
    known = (counts >= 0) & (counts < PRESENT)
    return np.where(known, np.round(counts * (GRID / grids[:, None]) ** 2), counts).astype(np.int64)


def count_curves(counts: np.ndarray, scores: np.ndarray) -> list[schema.Curve | None]:
    """The expected number of pixels of each pattern as an increasing function of its score, by isotonic regression.

    None for a pattern with fewer than two different scores on slices whose number of pixels is known, or if all known
    numbers are 0, as with labels of presence.
    """
    found: list[schema.Curve | None] = []
    for pixels, f in zip(counts.T.astype(np.float64), scores.T, strict=True):
        known = (pixels >= 0) & (pixels < PRESENT)
        if len(np.unique(f[known])) < 2 or not pixels[known].any():
            found.append(None)
            continue
        fitted = IsotonicRegression(out_of_bounds="clip").fit(f[known], pixels[known])
        x = fitted.X_thresholds_[np.unique(np.linspace(0, len(fitted.X_thresholds_) - 1, KNOTS).astype(int))]
        found.append(schema.Curve(scores=x.tolist(), pixels=fitted.predict(x).tolist()))
    return found


def scan_errors(series: np.ndarray, counts: np.ndarray, pixels: np.ndarray) -> list[schema.ScanError | None]:
    """For each pattern, the root mean square error over scans of the estimated mean number of pixels per slice.

    None if fewer than five scans have known numbers of pixels. series: scan of each slice, (N,). counts, pixels: known
    and estimated number of pixels, (N, C).
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
    """The fields `conformal` and `no_conformal` of a head, from slices of patients on whom it was not fitted.

    presence: 1, 0 or −1 (unknown), (N, C). cross_validated: whether the scores are from the models of several folds.
    The coverage is guaranteed for scores of one model, and approximate for scores of several models.
    """
    found = Conformal.fit(presence, scores, patients, level=SETS_LEVEL)
    if all(value is None for value in (*found.present_from, *found.absent_to)):
        fewest, most = fewest_patients(SETS_LEVEL), max(*found.present_patients, *found.absent_patients)
        return {
            "no_conformal": f"conformal sets need at least {fewest} held-out patients who show a pattern, or {fewest} "
            f"who do not, got at most {most}"
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
