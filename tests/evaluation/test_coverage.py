"""Simulation: intervals include the true value about as often as their level states, and tests keep their level."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from ildfv.evaluation.intervals import paired
from ildfv.evaluation.measures import Auc

pytestmark = pytest.mark.slow


def bench_coverage():
    """The module bench_coverage, loaded by path because bench/ is not installed."""
    path = Path(__file__).parents[2] / "bench" / "bench_coverage.py"
    spec = importlib.util.spec_from_file_location("bench_coverage", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


STUDIES = 300  # if the true coverage is 95 %, a measured one below 0.92 has a chance of 2 %


@pytest.mark.parametrize(("patients", "m"), [(60, 5), (60, 10), (60, 20), (20, 10), (10, 10)])
def test_intervals_of_auc_f_and_differences_cover_at_every_number_of_positive_patients(patients, m):
    for row in bench_coverage().coverage(patients, m, studies=STUDIES):
        assert row["without_interval"] < 0.02, row
        assert row["coverage"] >= 0.92, row


def test_percentile_intervals_which_were_used_before_do_not_cover_with_few_positive_patients():
    rows = {row["measure"]: row for row in bench_coverage().coverage(60, 5, studies=STUDIES)}
    assert rows["AUC"]["percentile_coverage"] < 0.90


def test_the_true_values_of_the_simulation_are_those_of_a_large_cohort():
    bench = bench_coverage()
    model, rng = bench.Model(), np.random.default_rng(0)
    truth, patient = bench.cohort(3000, 1000)
    scores = bench.draw(rng, (model,), truth, patient)[0]
    one = np.ones((1, 3000))
    assert Auc.of(scores, truth, patient, 3000)(one)[0] == pytest.approx(model.auc(3000, 1000), abs=0.006)
    assert bench.f_of(scores, truth, patient)(one)[0] == pytest.approx(model.f(3000, 1000), abs=0.01)


def p_values(patients, m, *, scatter, studies=400):
    """p values for two systems of equal AUC; scatter: SD of a patient's effect in each."""
    bench, rng = bench_coverage(), np.random.default_rng([patients, m])
    truth, patient = bench.cohort(patients, m)
    # The AUC over pairs of patients depends on effect / √(2 + 2·patient² + disease²), which is equal for both models.
    effects = [1.2 * np.sqrt((2 + 2 * 0.49 + s**2) / (2 + 2 * 0.49)) for s in scatter]
    models = tuple(bench.Model(effect, disease=s) for effect, s in zip(effects, scatter, strict=True))
    found = []
    for study in range(studies):
        a, b = (Auc.of(one, truth, patient, patients) for one in bench.draw(rng, models, truth, patient))
        found.append(paired(a, b, patients, n_resamples=256, seed=study).p)
    return np.array(found)


@pytest.mark.parametrize(("patients", "m"), [(8, 4), (20, 8)])
def test_the_permutation_test_keeps_its_level_for_exchangeable_systems(patients, m):
    """With swapped ranks the level is approximate: within 3 standard errors and a tenth of itself."""
    p = p_values(patients, m, scatter=(0.5, 0.5))
    for level in (0.05, 0.2):
        assert np.mean(p <= level) <= 1.1 * level + 3 * np.sqrt(level * (1 - level) / len(p))


def test_with_few_patients_the_test_is_one_of_exchangeability_and_not_of_equal_auc():
    """Equal AUC, but one system's scores vary more between patients: false alarms at up to twice the level."""
    p = p_values(8, 4, scatter=(0.0, 2.0))
    assert np.mean(p <= 0.05) <= 0.10 + 3 * np.sqrt(0.1 * 0.9 / len(p))
