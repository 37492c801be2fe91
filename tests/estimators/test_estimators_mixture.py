"""GaussianMixture: agreement with scikit-learn, streams, stepwise EM, resuming, invalid input."""

import warnings

import numpy as np
import pytest
from estimators_support import blobs, slices
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Peer
from sklearn.utils.estimator_checks import parametrize_with_checks

from ildfv.errors import InputError
from ildfv.estimators.em import MixtureSums, Parameters
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.start import nearest, start

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def begin(x, k):
    """The same start for two implementations."""
    return {"weights_init": np.full(k, 1 / k), "means_init": x[:k].copy(), "variances_init": np.ones((k, x.shape[1]))}


@pytest.mark.filterwarnings("ignore:Skipping check:sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([GaussianMixture(2, max_iter=20)])
def test_scikit_learn_accepts_the_mixture(estimator, check):
    check(estimator)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("passes", [1, 3, 40])
def test_em_from_the_same_start_equals_scikit_learns(passes, offset):
    x, k = blobs() + offset, 5
    ours = GaussianMixture(k, max_iter=passes, tol=0, variance_floor=1e-12, **begin(x, k)).fit(x)
    at = begin(x, k)
    peer = Peer(k, covariance_type="diag", max_iter=passes, tol=0, reg_covar=0)
    peer.set_params(weights_init=at["weights_init"], means_init=at["means_init"], precisions_init=at["variances_init"])
    peer.fit(x)
    assert ours.score(x) == pytest.approx(peer.score(x), abs=1e-6)
    assert ours.lower_bound_ == pytest.approx(peer.lower_bound_, abs=1e-6)
    np.testing.assert_allclose(ours.means_, peer.means_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(x), peer.predict_proba(x), atol=1e-5)
    np.testing.assert_allclose(ours.score_samples(x), peer.score_samples(x), atol=1e-5)
    assert ours.bic(x) == pytest.approx(peer.bic(x))
    assert ours.aic(x) == pytest.approx(peer.aic(x))
    assert ours.aic(x.reshape(10, -1, 4)) == pytest.approx(peer.aic(x))


def test_every_pass_of_exact_em_raises_the_likelihood():
    seen = []
    mixture = GaussianMixture(8, max_iter=30, tol=0, callback=lambda i, mean: seen.append((i, mean)))
    mixture.fit(blobs(k=8, spread=1.0))
    assert [i for i, _ in seen] == list(range(1, 31))
    assert (np.diff([mean for _, mean in seen]) > -1e-9).all()
    np.testing.assert_array_equal(mixture.log_likelihoods_, [mean for _, mean in seen])


def test_em_stops_when_the_likelihood_rises_by_less_than_tol():
    mixture = GaussianMixture(5, tol=1e-3).fit(blobs())
    assert mixture.converged_
    assert mixture.n_iter_ < 100
    assert 0 <= np.diff(mixture.log_likelihoods_)[-1] < 1e-3
    with pytest.warns(ConvergenceWarning, match="after 1 pass: increase max_iter or tol"):
        GaussianMixture(5, max_iter=1).fit(blobs())


@pytest.mark.parametrize("cut", [1, 400, 1499])
def test_two_half_streams_merged_equal_the_whole(cut):
    x = blobs()
    at = start(x, 5)
    whole = MixtureSums(at).update(x)
    halves = MixtureSums(at).update(x[:cut]).merge(MixtureSums(at).update(x[cut:]))
    again = MixtureSums.from_state(halves.state(), at)
    for name, value in whole.state().items():
        np.testing.assert_allclose(halves.state()[name], value, rtol=1e-12, atol=1e-10)
        np.testing.assert_array_equal(again.state()[name], halves.state()[name])
        assert halves.state()[name].dtype == np.float64


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_units_of_the_descriptors_do_not_matter(seed, scale, shift):
    x = blobs(300, seed=seed)
    one = GaussianMixture(3, max_iter=5, tol=0).fit(x)
    other = GaussianMixture(3, max_iter=5, tol=0).fit(x * scale + shift)
    np.testing.assert_allclose(other.means_, one.means_ * scale + shift, rtol=1e-5, atol=1e-5 * scale)
    np.testing.assert_allclose(other.variances_, one.variances_ * scale**2, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_order_of_descriptors_does_not_matter(seed):
    x = blobs(400)
    shuffled = x[np.random.default_rng(seed).permutation(len(x))]
    one, other = (GaussianMixture(5, max_iter=5, tol=0, **begin(x, 5)).fit(a) for a in (x, shuffled))
    np.testing.assert_allclose(other.means_, one.means_, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["exact", "stepwise"])
def test_an_interrupted_fit_resumes_to_the_same_bits(method):
    maps = slices(n_slices=20)
    whole = GaussianMixture(6, max_iter=6, tol=0, method=method).fit(maps)

    class Killed(Exception):
        pass

    saved = {}

    def kill(i, mean):
        if i == 3:
            saved.update(tensors=cut.to_tensors(), info=cut.info())
            raise Killed

    cut = GaussianMixture(6, max_iter=6, tol=0, method=method, callback=kill)
    with pytest.raises(Killed):
        cut.fit(maps)
    resumed = GaussianMixture.from_tensors(**saved).set_params(warm_start=True).fit(maps)
    assert resumed.n_iter_ == whole.n_iter_
    for name, value in whole.to_tensors().items():
        np.testing.assert_array_equal(resumed.to_tensors()[name], value)


def test_ranks_that_add_their_sums_equal_one_rank():
    x, k = blobs(), 5
    alone = GaussianMixture(k, max_iter=3, tol=0, **begin(x, k)).fit(x)
    at = Parameters(*begin(x, k).values())
    for _ in range(3):  # three ranks, one without data
        per_rank = [MixtureSums(at).update(x[:300]), MixtureSums(at).update(x[300:]), MixtureSums(at)]
        states = [sums.state() for sums in per_rank]
        total = {name: sum(state[name] for state in states) for name in states[0]}
        at = MixtureSums.from_state(total, at).finish(floor=alone.floors_)
    np.testing.assert_allclose(at.means_, alone.means_, rtol=1e-9)
    doubled = GaussianMixture(k, max_iter=3, tol=0, reduce=lambda s: {n: 2 * v for n, v in s.items()}, **begin(x, k))
    np.testing.assert_allclose(doubled.fit(x).means_, alone.means_, rtol=1e-9)
    with pytest.raises(InputError, match="reduce needs weights_init, means_init and variances_init"):
        GaussianMixture(k, reduce=lambda s: s).fit(x)


def test_an_empty_component_is_replaced_by_half_of_the_heaviest():
    x = blobs()
    lost = begin(x, 5)
    lost["means_init"][2] = 100.0
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        mixture = GaussianMixture(5, max_iter=50, **lost).fit(x)
    assert (mixture.weights_ > 0.01).all()
    assert np.abs(mixture.means_).max() < 100


def test_duplicate_descriptors_give_finite_parameters():
    mixture = GaussianMixture(4, max_iter=20).fit(np.repeat(np.eye(3), 50, axis=0))
    assert np.isfinite(mixture.means_).all()
    assert (mixture.variances_ > 0).all()
    assert mixture.weights_.sum() == pytest.approx(1)


def test_dimensions_without_variance_get_the_floor_and_a_warning():
    x = blobs()
    x[:, 2] = 7.0
    with pytest.warns(UserWarning, match=r"variance_floor in 1 of 4 dimensions .*the first is 2"):
        mixture = GaussianMixture(3).fit(x)
    assert (mixture.variances_[:, 2] > 0).all()
    np.testing.assert_allclose(mixture.means_[:, 2], 7.0)


@pytest.mark.parametrize("init", ["k-means", "k-means++", "faiss"])
def test_starts_are_reproducible_and_keep_the_overall_moments(init):
    if init == "faiss":
        pytest.importorskip("faiss")
    x = blobs()
    one, two = (start(x, 5, init=init, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.means_, two.means_)
    assert one.weights_.sum() == pytest.approx(1)
    overall_mean, overall_variance = one.overall()
    np.testing.assert_allclose(overall_mean, x.mean(axis=0), atol=1e-9)  # total expectation, total variance
    np.testing.assert_allclose(overall_variance, x.var(axis=0), rtol=1e-9)


@pytest.mark.parametrize("method", ["exact", "stepwise"])
@pytest.mark.parametrize("seed", range(6))
def test_more_starts_never_lower_the_likelihood(method, seed):
    x = np.random.default_rng(seed).standard_t(3, size=(3000, 4)).astype(np.float32)
    likelihoods = [
        GaussianMixture(8, method=method, tol=1e-3, n_init=n, random_state=seed).fit(x).score(x) for n in (1, 2, 4)
    ]
    assert np.diff(likelihoods).min() > -1e-9


def test_the_kept_fit_of_several_starts_is_complete(tmp_path):
    """All learned attributes, and the number of passes, are those of the kept fit, not those of the last one."""
    x = np.random.default_rng(0).standard_t(3, size=(3000, 4)).astype(np.float32)
    passes: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = GaussianMixture(8, n_init=5, max_iter=60, callback=lambda number, _: passes.append(number)).fit(x)
    assert passes.count(1) == 5
    assert len(fit.log_likelihoods_) == fit.n_iter_
    assert fit.log_likelihoods_[-1] == pytest.approx(fit.score(x), abs=2e-3)


def test_given_parameters_are_the_only_start():
    x = blobs(n=500, d=2, k=2)
    given = {"weights_init": [0.5, 0.5], "means_init": x[:2], "variances_init": np.ones((2, 2))}
    starts: list[int] = []
    callback = lambda number, _: starts.append(number)  # noqa: E731
    GaussianMixture(2, n_init=3, callback=callback, **given).fit(x)
    assert starts.count(1) == 1


def test_blocks_of_rows_do_not_change_the_nearest_centre(monkeypatch):
    x = blobs(n=1000, d=3, k=4)
    whole = nearest(x, x[:5])
    monkeypatch.setattr("ildfv.estimators.start.BLOCK", 7)
    np.testing.assert_array_equal(nearest(x, x[:5]), whole)


def test_k_means_improves_on_its_seeds():
    x = blobs(k=8, spread=1.0)
    found = [start(x, 8, init=init).means_ for init in ("k-means", "k-means++")]
    k_means, seeds = (((x - means[nearest(x, means)]) ** 2).sum() for means in found)
    assert k_means < seeds


def test_samples_follow_the_mixture():
    mixture = GaussianMixture.from_parameters([0.25, 0.75], [[0.0, 5.0], [10.0, -5.0]], [[1.0, 4.0], [0.25, 1.0]])
    x, labels = mixture.sample(20_000)
    assert (labels == 0).mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(x[labels == 1].mean(axis=0), [10, -5], atol=0.05)
    np.testing.assert_allclose(x[labels == 0].var(axis=0), [1, 4], rtol=0.1)
    assert (mixture.predict(x) == labels).mean() > 0.99


def test_a_given_mixture_survives_clone_and_fit():
    mixture = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [1.0]], [[1e-9], [1.0]])
    again = clone(mixture).fit(blobs(d=1))
    np.testing.assert_array_equal(again.means_, mixture.means_)
    np.testing.assert_array_equal(again.variances_, mixture.variances_)


def test_a_mixture_whose_weights_sum_to_one_within_rounding_can_be_sampled():
    mixture = GaussianMixture.from_parameters([0.4, 0.6000005, 0], np.zeros((3, 2)), np.ones((3, 2)))
    assert mixture.sample(5)[0].shape == (5, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("constant", [0.0, 0.1, 0.3, 100000.1])
def test_rounding_of_a_constants_mean_is_not_taken_for_variance(dtype, constant):
    x = np.random.default_rng(0).normal(size=(1000, 4)).astype(dtype)
    x[:, 2] = constant
    with pytest.warns(UserWarning, match="no variance above variance_floor in 1 of 4 dimensions"):
        mixture = GaussianMixture(4, max_iter=3, tol=np.inf).fit(x)
    assert 1e-5 < mixture.floors_[2] < 1e-3  # relative to the scale of the other dimensions
    np.testing.assert_allclose(mixture.variances_[:, 2], mixture.floors_[2])


def test_a_warning_names_means_init_if_its_variance_sets_the_floor():
    x = np.random.default_rng(0).normal(size=(300, 3))
    start = {"weights_init": [0.5, 0.5], "means_init": [[0.0] * 3, [1e5] * 3], "variances_init": np.ones((2, 3))}
    with pytest.warns(UserWarning, match=r"variance_floor \(relative to the variance of means_init\)"):
        GaussianMixture(2, max_iter=3, tol=1e-9, **start).fit(x)


@pytest.mark.parametrize("seed", [2, 5])
def test_the_default_start_finds_separated_clusters_that_a_single_trial_misses(seed, monkeypatch):
    x = blobs(n=2500, d=8, k=32, seed=seed, spread=6.0)
    default = GaussianMixture(32).fit(x).score(x)
    monkeypatch.setattr("ildfv.estimators.mixture_start.TRIALS", 1)
    assert default > GaussianMixture(32).fit(x).score(x) + 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_start_finds_separated_clusters_that_scikit_learn_misses(seed):
    x = blobs(n=2500, d=8, k=32, seed=seed, spread=6.0)
    default = GaussianMixture(32).fit(x).score(x)
    assert default > Peer(32, covariance_type="diag", random_state=0).fit(x).score(x) + 0.1
