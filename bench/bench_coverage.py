"""How often the 95 % intervals of `ildfv.evaluation` include the true value, by number m of positive patients.

    python -m bench.bench_coverage [--studies 1000] [--out bench/results/coverage-DATE.json]

Each study draws a cohort in which m of the patients show a pattern on half of their slices. Scores are normal, with
effects of patient and of a patient's disease, so that the true AUC, F and differences are known exactly. The percentile
bootstrap is measured on the same resamples for comparison.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
from scipy.stats import norm

from ildfv.evaluation.intervals import MIN_DEFINED, confidence, difference_interval, resampled
from ildfv.evaluation.measures import Auc, Ratio, by_patient

SLICES = 8  # slices of a patient; a positive patient shows the pattern on half of them
CUT = 1.0  # slices with a higher score are predicted positive
RESAMPLES = 300
SHARED = 20  # studies that share resamples, because drawing resamples takes as long as the rest of a study
COHORTS = ((60, 3), (60, 5), (60, 10), (60, 20), (20, 5), (20, 10), (10, 10))  # (patients, positive patients)
NEAR_1 = ((60, 5), (60, 20))  # for systems that classify almost all slices correctly


@dataclass(frozen=True)
class Model:
    """Normal scores: positive slices score higher by `effect` plus a random effect of the disease of their patient."""

    effect: float = 1.5
    patient: float = 0.7  # SD of a patient's level
    disease: float = 0.5  # SD of a patient's effect

    def auc(self, patients: int, m: int) -> float:
        """The expected share of pairs in the right order, including pairs within a positive patient."""
        between = norm.cdf(self.effect / np.sqrt(2 + 2 * self.patient**2 + self.disease**2))
        within = norm.cdf(self.effect / np.sqrt(2 + self.disease**2))
        half = SLICES // 2
        inside, outside = m * half**2, m * half * (SLICES * patients - half * m) - m * half**2
        return float((inside * within + outside * between) / (inside + outside))

    def f(self, patients: int, m: int) -> float:
        """2·E[tp] / (E[predicted] + positives)."""
        positives = m * (SLICES // 2)
        negatives = patients * SLICES - positives
        tp = positives * norm.sf((CUT - self.effect) / np.sqrt(1 + self.patient**2 + self.disease**2))
        fp = negatives * norm.sf(CUT / np.sqrt(1 + self.patient**2))
        return float(2 * tp / (tp + fp + positives))


def cohort(patients: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """truth (N,) bool and patient number (N,)."""
    patient = np.repeat(np.arange(patients), SLICES)
    return (patient < m) & (np.arange(len(patient)) % SLICES < SLICES // 2), patient


def draw(rng: np.random.Generator, models: tuple[Model, ...], truth: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Scores (models, N). Effects of patients have a correlation of 0.5 between models, effects of slices none."""
    n, shared = patient.max() + 1, rng.normal(size=(2, patient.max() + 1))
    scores = []
    for model in models:
        level, disease = (shared + rng.normal(size=(2, n))) / np.sqrt(2)
        signal = model.effect + model.disease * disease[patient]
        scores.append(rng.normal(size=len(truth)) + model.patient * level[patient] + truth * signal)
    return np.array(scores)


def f_of(scores: np.ndarray, truth: np.ndarray, patient: np.ndarray) -> Ratio:
    n, predicted = patient.max() + 1, scores > CUT
    cases = by_patient(truth, patient, n)
    return Ratio(2 * by_patient(truth & predicted, patient, n), cases + by_patient(predicted, patient, n), needed=cases)


def percentile(values: np.ndarray) -> tuple[float, float] | None:
    """The interval of the percentile bootstrap, or None if too few resamples have a value."""
    defined = values[np.isfinite(values)]
    if len(defined) < MIN_DEFINED * len(values):
        return None
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def coverage(
    patients: int, m: int, *, studies: int, models: tuple[Model, Model] = (Model(1.5), Model(1.1)), seed: int = 0
) -> list[dict]:
    """One row per measure: coverage of both kinds of interval, width, and the share of studies without an interval."""
    rng = np.random.default_rng([seed, patients, m])
    truth, patient = cohort(patients, m)
    true = {"AUC": models[0].auc(patients, m), "F": models[0].f(patients, m)}
    true |= {f"difference of {name}": true[name] - getattr(models[1], name.lower())(patients, m) for name in true}
    found: dict[str, list] = {name: [] for name in true}
    for study in range(studies):
        if study % SHARED == 0:
            weights = resampled(patients, RESAMPLES, seed=study)
        scores = draw(rng, models, truth, patient)
        measures = {
            "AUC": [Auc.of(one, truth, patient, patients) for one in scores],
            "F": [f_of(one, truth, patient) for one in scores],
        }
        for name, (a, b) in measures.items():
            ours, theirs = a(weights), b(weights)
            found[name].append((confidence(a, weights), percentile(ours)))
            found[f"difference of {name}"].append((difference_interval(a, b, weights), percentile(ours - theirs)))
    return [
        {"measure": name, "patients": patients, "m": m, "true": true[name], **_row(intervals, true[name])}
        for name, intervals in found.items()
    ]


def _row(intervals: list, value: float) -> dict:
    given, percentiles = ([one for one in column if one is not None] for column in zip(*intervals, strict=True))

    def share(column: list) -> float | None:
        return float(np.mean([low <= value <= high for low, high in column])) if column else None

    return {
        "coverage": share(given),
        "percentile_coverage": share(percentiles),
        "mean_width": float(np.mean([high - low for low, high in given])) if given else None,
        "without_interval": 1 - len(given) / len(intervals),
    }


def main() -> None:
    from bench.machine import machine

    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--studies", type=int, default=1000)
    options.add_argument("--out", type=Path, help="default: bench/results/coverage-DATE.json")
    given = options.parse_args()
    models = {"moderate": (Model(1.5), Model(1.1)), "near 1": (Model(4.5), Model(4.0))}
    cohorts = {"moderate": COHORTS, "near 1": NEAR_1}
    found = {
        "what": __doc__.splitlines()[0],
        "date": date.today().isoformat(),
        "machine": machine(),
        "studies": given.studies,
        "resamples": RESAMPLES,
        "slices_a_patient": SLICES,
        "models": {name: [asdict(model) for model in pair] for name, pair in models.items()},
        "rows": [
            {"model": name, **row}
            for name, pair in models.items()
            for patients, m in cohorts[name]
            for row in coverage(patients, m, studies=given.studies, models=pair)
        ],
    }
    for row in found["rows"]:
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
    out = given.out or Path(__file__).parent / "results" / f"coverage-{found['date']}.json"
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()
