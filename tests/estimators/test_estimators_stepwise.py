"""Stepwise EM: few passes reach exact EM, weight of short steps, sorted descriptors, convergence."""

import warnings

import numpy as np
import pytest
from estimators_support import blobs, slices
from sklearn.exceptions import ConvergenceWarning

from ildfv.estimators.batches import Batches
from ildfv.estimators.em import Parameters
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.stepwise import stepwise_pass

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_stepwise_em_reaches_full_em_in_three_passes(seed):
    maps = slices(seed)
    stream = [maps[i : i + 16] for i in range(0, len(maps), 16)]
    full = GaussianMixture(16, max_iter=200).fit(stream).score(maps)
    stepwise = GaussianMixture(16, max_iter=3, method="stepwise").fit(stream)
    assert stepwise.n_iter_ <= 3
    assert stepwise.score(maps) > full - 0.001 * abs(full)


def test_a_short_last_step_weighs_no_more_than_its_descriptors():
    """One outlier after 64 full steps may move the overall mean by a share near (t + 2)^-0.6 / 64 of its distance."""
    random = np.random.default_rng(0)
    x = random.normal(size=(64 * 64, 1))
    at = Parameters(np.full(2, 0.5), np.array([[-1.0], [1.0]]), np.ones((2, 1)))
    floors = np.full(1, 1e-6)

    def mean_after(rows):
        stream = Batches([rows[i : i + 64] for i in range(0, len(rows), 64)])
        return stepwise_pass(at, stream, floors=floors, n_steps=0)[0].overall()[0][0]

    moved = mean_after(np.vstack([x, [[50.0]]])) - mean_after(x)
    assert moved == pytest.approx(50 * 66**-0.6 / 64, rel=0.2)


def sorted_clusters(n=12_000, d=6):
    random = np.random.default_rng(0)
    means = random.normal(size=(12, d)) * 4
    return (means[np.sort(random.integers(12, size=n))] + random.normal(size=(n, d))).astype(np.float32)


@pytest.mark.slow
def test_three_stepwise_passes_over_sorted_descriptors_are_no_worse_than_one():
    x = sorted_clusters()
    one, three = (GaussianMixture(8, method="stepwise", max_iter=passes).fit(x).score(x) for passes in (1, 3))
    assert three > one - 0.01


def test_a_sorted_stream_warns_and_does_not_converge():
    x = sorted_clusters()
    fall = "decreased during stepwise EM.*shuffle"
    with pytest.warns(ConvergenceWarning, match=fall):
        mixture = GaussianMixture(8, method="stepwise", max_iter=3).fit(
            [x[i : i + 1000] for i in range(0, 12_000, 1000)]
        )
    assert not mixture.converged_


def test_stepwise_em_cut_off_by_max_iter_has_not_converged():
    with pytest.warns(ConvergenceWarning, match="after 2 passes: increase max_iter or tol"):
        assert not GaussianMixture(5, method="stepwise", max_iter=2, tol=0).fit(blobs()).converged_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert GaussianMixture(2, method="stepwise", max_iter=40, tol=1e-2).fit(blobs(k=2, spread=5.0)).converged_


def test_interleaved_chunks_cover_every_row_once_and_the_whole_range():
    x = np.arange(1000.0)[:, None]
    chunks = [chunk for _, chunk in Batches(x).interleaved(64)]
    np.testing.assert_array_equal(np.sort(np.concatenate(chunks), axis=0), x)
    assert {len(chunk) for chunk in chunks} <= {62, 63}
    assert all(np.ptp(chunk) > 900 for chunk in chunks)


def test_auto_chooses_by_the_number_of_descriptors_per_component(monkeypatch):
    monkeypatch.setattr("ildfv.estimators.mixture_settings.ROWS", 100)
    x = blobs(n=400, d=3, k=3).astype(np.float32)
    same = {"n_components": 3, "random_state": 0}
    for maps, method, passes in ((x[:299], "exact", 100), (x, "stepwise", 3), ([x], "stepwise", 3)):
        mixture = GaussianMixture(method="auto", **same).fit(maps)
        assert mixture.method_ == method
        assert mixture.n_iter_ <= passes
        options = {} if method == "exact" else {"max_iter": 3}
        np.testing.assert_array_equal(
            mixture.means_, GaussianMixture(method=method, **same, **options).fit(maps).means_
        )
    assert GaussianMixture(method="auto", **same).fit(lambda: [x[:299]]).method_ == "stepwise"


def test_auto_must_be_decided_by_the_caller_if_sums_are_distributed():
    x = blobs(n=400, d=3, k=3)
    start = {"weights_init": [0.5, 0.5], "means_init": x[:2], "variances_init": np.ones((2, 3))}
    with pytest.raises(ValueError, match='method must be "exact" or "stepwise" with reduce, got "auto"'):
        GaussianMixture(2, method="auto", reduce=lambda sums: sums, **start).fit(x)
