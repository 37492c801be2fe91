"""MultivariateRegression: closed form, scikit-learn's Ridge, brute-force likelihood, missing labels, invalid input."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from ildfv.errors import InputError
from ildfv.estimators.ecm import RegressionSums
from ildfv.estimators.regression import MultivariateRegression
from ildfv.estimators.regression_model import RegressionModel


def data(n=60, p=3, c=2, seed=0, offset=5.0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, p)) + offset
    mix = np.tril(random.uniform(0.3, 1, size=(c, c)))
    return x, x @ random.normal(size=(p, c)) + random.normal(size=(n, c)) @ mix.T + 100


def missing(y, share=0.3, seed=1):
    y = y.copy()
    y[np.random.default_rng(seed).random(y.shape) < share] = np.nan
    return y


@pytest.mark.filterwarnings("ignore:Skipping check:sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([MultivariateRegression(), MultivariateRegression(ridge=1.0)])
def test_scikit_learn_accepts_the_regression(estimator, check):
    check(estimator)


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_complete_labels_give_the_closed_form(offset):
    x, y = data(offset=offset)
    model, peer = MultivariateRegression().fit(x, y), LinearRegression().fit(x, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-7)
    np.testing.assert_allclose(model.predict(x), peer.predict(x), rtol=1e-9)
    residual = y - peer.predict(x)
    sigma = residual.T @ residual / len(x)
    np.testing.assert_allclose(model.residual_covariance_, sigma, rtol=1e-7)
    assert model.log_likelihood_ == pytest.approx(multivariate_normal.logpdf(residual, cov=sigma).sum())
    centred = x - x.mean(axis=0)
    variances = np.diag(np.linalg.inv(centred.T @ centred))
    np.testing.assert_allclose(model.standard_errors_, np.sqrt(np.outer(np.diag(sigma), variances)), rtol=1e-6)
    at_zero = 1 / len(x) + x.mean(axis=0) @ np.linalg.inv(centred.T @ centred) @ x.mean(axis=0)
    np.testing.assert_allclose(model.intercept_standard_errors_, np.sqrt(np.diag(sigma) * at_zero), rtol=1e-6)


@pytest.mark.parametrize("ridge", [1e-3, 3.0, 1e4])
def test_ridge_equals_scikit_learns(ridge):
    x, y = data()
    model, peer = MultivariateRegression(ridge=ridge).fit(x, y), Ridge(alpha=ridge).fit(x, y)
    np.testing.assert_allclose(model.coef_, peer.coef_, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(model.intercept_, peer.intercept_, rtol=1e-8)
    assert (model.standard_errors_ < MultivariateRegression().fit(x, y).standard_errors_).all()


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(1, 59), share=st.sampled_from([0.0, 0.3]))
def test_two_half_streams_merged_equal_the_whole(cut, share):
    x, y = data()
    y = missing(y, share)
    whole = MultivariateRegression().fit_sums(RegressionSums(3, 2).update(x, y))
    halves = RegressionSums(3, 2).update(x[:cut], y[:cut]).merge(RegressionSums(3, 2).update(x[cut:], y[cut:]))
    again = MultivariateRegression().fit_sums(RegressionSums.from_state(halves.state(), 3, 2))
    np.testing.assert_allclose(again.coef_, whole.coef_, rtol=1e-6)
    streamed = MultivariateRegression().fit([(x[:cut], y[:cut]), (x[cut:], y[cut:])])
    np.testing.assert_allclose(streamed.coef_, whole.coef_, rtol=1e-6)
    np.testing.assert_allclose(MultivariateRegression().fit(x, y).coef_, whole.coef_, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(1e-2, 1e2), shift=st.floats(-10, 10))
def test_units_of_the_outputs_scale_everything(scale, shift):
    x, y = data()
    one, other = MultivariateRegression().fit(x, y), MultivariateRegression().fit(x, y * scale + shift)
    np.testing.assert_allclose(other.coef_, one.coef_ * scale, rtol=1e-8)
    np.testing.assert_allclose(other.standard_errors_, one.standard_errors_ * scale, rtol=1e-7)


def test_a_design_of_one_constant_feature_is_reported_in_the_singular():
    with pytest.warns(UserWarning, match="the design has rank 0 but 1 feature: the coefficients of least norm"):
        MultivariateRegression().fit(np.full((9, 1), 4.0), np.arange(9.0))


def test_a_rank_deficient_design_predicts_the_same_with_nan_standard_errors():
    x, y = data()
    wide = np.column_stack([x, 2 * x[:, 0], np.full(len(x), 4.0)])
    with pytest.warns(UserWarning, match="the design has rank 3 but 5 features"):
        model = MultivariateRegression().fit(wide, y)
    reference = MultivariateRegression().fit(x, y)
    np.testing.assert_allclose(model.predict(wide), reference.predict(x), rtol=1e-9)
    np.testing.assert_array_equal(np.isnan(model.standard_errors_), np.tile([True, False, False, True, True], (2, 1)))
    np.testing.assert_allclose(model.standard_errors_[:, 1:3], reference.standard_errors_[:, 1:3], rtol=1e-6)
    assert np.isnan(model.intercept_standard_errors_).all()


def test_one_output_and_torch():
    x, y = data()
    flat, two = MultivariateRegression().fit(x, y[:, 0]), MultivariateRegression().fit(x, y[:, :1])
    assert flat.predict(x).shape == (60,)
    assert two.predict(x).shape == (60, 1)
    np.testing.assert_allclose(flat.coef_, two.coef_[0])
    given_ = MultivariateRegression().fit(torch.from_numpy(x), torch.from_numpy(y))
    predicted = given_.predict(torch.from_numpy(x.astype(np.float32)))
    assert isinstance(predicted, torch.Tensor)
    assert predicted.dtype == torch.float32
    np.testing.assert_allclose(predicted.numpy(), MultivariateRegression().fit(x, y).predict(x), rtol=1e-5)


def test_other_libraries_of_the_array_api_work():
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    x, y = data()
    given_ = MultivariateRegression().fit(xp.asarray(x), xp.asarray(missing(y)))
    np.testing.assert_allclose(given_.coef_, MultivariateRegression().fit(x, missing(y)).coef_, rtol=1e-9)
    assert type(given_.predict(xp.asarray(x))) is type(xp.asarray(x))


def test_a_restored_regression_predicts_the_same():
    x, y = data()
    for fitted in (MultivariateRegression(ridge=2.0).fit(x, y), MultivariateRegression().fit(x, x @ np.ones((3, 2)))):
        info = json.loads(json.dumps(fitted.info(), allow_nan=False))
        again = MultivariateRegression.from_tensors(fitted.to_tensors(), info)
        np.testing.assert_array_equal(again.predict(x), fitted.predict(x))
        assert again.log_likelihood_ == fitted.log_likelihood_


def test_sums_reduced_over_ranks_are_used():
    x, y = data()
    twice = MultivariateRegression(reduce=lambda s: {name: 2 * value for name, value in s.items()}).fit(x, missing(y))
    one = MultivariateRegression().fit(x, missing(y))
    np.testing.assert_allclose(twice.coef_, one.coef_, rtol=1e-4)
    np.testing.assert_allclose(twice.standard_errors_, one.standard_errors_ / np.sqrt(2), rtol=1e-3)


@pytest.mark.parametrize("flat", [False, True])
def test_a_rank_without_rows_gets_the_result_of_the_others(flat):
    x, y = data()
    y = y[:, 0] if flat else y
    said = []

    def heard(arrays):  # the result of the rank with all rows
        said.append(arrays)
        return arrays

    def added(arrays):
        theirs = said.pop(0)
        return {name: value + theirs[name] for name, value in arrays.items()}

    whole = MultivariateRegression(reduce=heard).fit([(x, y)])
    empty = MultivariateRegression(reduce=added).fit(lambda: iter(()))
    np.testing.assert_array_equal(empty.coef_, whole.coef_)
    assert empty.intercept_.shape == whole.intercept_.shape == (() if flat else (2,))


X, Y = data()
HALF = Y * [1, np.nan]
BAD = {
    "ridge must be at least 0, got -1": lambda: MultivariateRegression(ridge=-1).fit(X, Y),
    "X must be finite, got NaN in row 0": lambda: MultivariateRegression().fit(np.where(X[0, 0] == X, np.nan, X), Y),
    "Y must be finite or NaN, got inf": lambda: MultivariateRegression().fit(X, np.where(Y[0, 0] == Y, np.inf, Y)),
    "Y must contain at least one label of each output, got none of output 1": lambda: MultivariateRegression().fit(
        X, Y * [1, np.nan]
    ),
    "Y must contain at least one label, got none": lambda: MultivariateRegression().fit(X, Y * np.nan),
    "inconsistent numbers of samples": lambda: MultivariateRegression().fit(X, Y[:-1]),
    "X must have shape (any, 3), got (60, 2)": lambda: RegressionSums(3, 2).update(X[:, :2], Y),
    "Y must have shape (60, 2), got (60, 1)": lambda: RegressionSums(3, 2).update(X, Y[:, :1]),
    "given patterns of observed labels, got 10": lambda: RegressionSums(3, 2, patterns=[(True, True)]).update(X, HALF),
    "X must contain at least one batch, got none": lambda: MultivariateRegression().fit(lambda: iter(())),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_an_error_with_rule_and_value(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert message in str(error.value)
    assert isinstance(error.value, InputError) or "inconsistent" in message


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("complete", [True, False])
def test_pairs_far_from_zero_give_the_fit_of_the_array(offset, complete):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 5))
    y = x @ rng.normal(size=(5, 2)) + rng.normal(size=(400, 2)) + offset
    y = y if complete else np.where(rng.random(y.shape) < 0.3, np.nan, y)
    x += offset
    whole = MultivariateRegression().fit(x, y)
    pairs = MultivariateRegression().fit([(x[i : i + 50], y[i : i + 50]) for i in range(0, 400, 50)])
    for name in ("coef_", "standard_errors_", "residual_covariance_"):
        np.testing.assert_allclose(getattr(pairs, name), getattr(whole, name), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(pairs.predict(x), whole.predict(x), rtol=1e-9)
    single = pairs.predict(x.astype(np.float32))
    np.testing.assert_allclose(single, pairs.predict(x.astype(np.float32).astype(np.float64)), rtol=1e-6)


def test_pairs_reserve_memory_only_for_patterns_that_occur():
    x, y = data()
    wide = np.tile(y, (1, 5))  # ten outputs: all patterns of missing labels would be 1024
    wide[::3, 4] = np.nan
    wide += 0.01 * np.random.default_rng(0).normal(size=wide.shape)
    pairs = MultivariateRegression().fit([(x, wide)])
    whole = MultivariateRegression().fit(x, wide)
    np.testing.assert_allclose(pairs.coef_, whole.coef_, rtol=1e-6, atol=1e-9)


def test_the_score_ignores_missing_labels():
    x, y = data()
    model = MultivariateRegression().fit(x, y)
    gaps = y.copy()
    gaps[::4, 1] = np.nan
    seen = ~np.isnan(gaps[:, 1])
    guess = model.predict(x)
    expected = np.mean([r2_score(y[:, 0], guess[:, 0]), r2_score(y[seen, 1], guess[seen, 1])])
    assert model.score(x, gaps) == pytest.approx(expected)
    assert model.score(x, y) == pytest.approx(r2_score(y, guess))
    weights = np.linspace(0.1, 1, len(y))
    assert model.score(x, y, weights) == pytest.approx(r2_score(y, guess, sample_weight=weights))
    one = MultivariateRegression().fit(x, y[:, 0])
    assert one.score(x, y[:, 0]) == pytest.approx(r2_score(y[:, 0], one.predict(x)))
    assert np.isfinite(cross_val_score(MultivariateRegression(), x, gaps)).all()


def test_without_standard_errors_the_fit_is_the_same():
    x, y = np.random.default_rng(0).normal(size=(50, 3)), np.random.default_rng(1).normal(size=(50, 2))
    sums = RegressionSums(3, 2).update(x, y)
    complete, fast = MultivariateRegression().fit_sums(sums), RegressionModel().fit_sums(sums, standard_errors=False)
    np.testing.assert_array_equal(fast.coef_, complete.coef_)
    np.testing.assert_array_equal(fast.predict(x), complete.predict(x))
    assert np.isnan(fast.standard_errors_).all()
    assert np.isnan(fast.intercept_standard_errors_).all()


def test_a_model_without_scikit_learn_is_saved_as_the_estimator():
    x, y = np.random.default_rng(0).normal(size=(50, 3)), np.random.default_rng(1).normal(size=(50, 2))
    sums = RegressionSums(3, 2).update(x, y)
    estimator, model = MultivariateRegression(ridge=2.0).fit_sums(sums), RegressionModel(ridge=2.0).fit_sums(sums)
    assert json.dumps(model.info()) == json.dumps(estimator.info())
    for kind in (MultivariateRegression, RegressionModel):
        restored = kind.from_tensors(model.to_tensors(), model.info())
        np.testing.assert_array_equal(restored.predict(x), estimator.predict(x))
