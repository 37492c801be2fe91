"""MultivariateRegression with missing labels: the maximum of the likelihood, standard errors, convergence."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from test_estimators_regression import data, missing

from ildfv.estimators.regression import MultivariateRegression


def observed_log_likelihood(x, y, intercept, coef, sigma):
    total = 0.0
    for x_i, y_i in zip(x, y, strict=True):
        seen = ~np.isnan(y_i)
        if seen.any():
            mean = (intercept + coef @ x_i)[seen]
            total += multivariate_normal.logpdf(y_i[seen], mean, sigma[np.ix_(seen, seen)])
    return total


def test_missing_labels_reach_the_maximum_found_by_brute_force():
    x, y = data(n=40, p=2, c=2, offset=0.0)
    y = missing(y - 100)
    model = MultivariateRegression(tol=1e-13).fit(x, y)
    at = (model.intercept_, model.coef_, model.residual_covariance_)
    assert model.log_likelihood_ == pytest.approx(observed_log_likelihood(x, y, *at), abs=1e-9)

    def minus(theta):
        root = np.array([[theta[6], 0.0], [theta[7], theta[8]]])
        return -observed_log_likelihood(x, y, theta[:2], theta[2:6].reshape(2, 2), root @ root.T)

    start = np.array([0.0, 0, 0, 0, 0, 0, 1, 0, 1])
    best = minimize(minus, start, method="BFGS", options={"gtol": 1e-6})
    assert model.log_likelihood_ == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose(model.coef_.ravel(), best.x[2:6], atol=1e-4)
    np.testing.assert_allclose(model.residual_covariance_[1, 0], best.x[6] * best.x[7], atol=1e-4)


def missing_at_random(x, y):
    """y with missing second outputs where the first is large: missingness depends on observed labels only."""
    y = y.copy()
    y[y[:, 0] > np.quantile(y[:, 0], 0.5), 1] = np.nan
    return y


@pytest.mark.slow
@pytest.mark.parametrize(("gaps", "c"), [(lambda x, y: missing(y), 2), (missing_at_random, 2), (missing_at_random, 3)])
def test_standard_errors_with_missing_labels_follow_from_the_curvature_of_the_likelihood(gaps, c):
    """The inverse of the numeric Hessian over coefficients and residual covariance."""
    x, y = data(n=30, p=1, c=c, offset=1.0)
    y = gaps(x, y)
    model = MultivariateRegression(tol=1e-14).fit(x, y)
    coefficients = np.column_stack([model.intercept_, model.coef_])  # (c, 1 + p)
    pairs = np.tril_indices(c)
    theta = np.append(coefficients.ravel(), model.residual_covariance_[pairs])

    def value(change):
        moved = theta + change
        b = moved[: coefficients.size].reshape(coefficients.shape)
        sigma = np.zeros((c, c))
        sigma[pairs] = moved[coefficients.size :]
        sigma = sigma + np.tril(sigma, -1).T
        return observed_log_likelihood(x, y, b[:, 0], b[:, 1:], sigma)

    steps = 1e-3 * np.eye(theta.size)
    hessian = [[value(a + b) - value(a - b) - value(b - a) + value(-a - b) for a in steps] for b in steps]
    inverse = np.linalg.inv(-np.array(hessian) / 4e-6)
    errors = np.sqrt(np.diag(inverse))[: coefficients.size].reshape(coefficients.shape)
    np.testing.assert_allclose(model.standard_errors_, errors[:, 1:], rtol=2e-4)
    np.testing.assert_allclose(model.intercept_standard_errors_, errors[:, 0], rtol=2e-4)


@pytest.mark.slow
def test_intervals_from_standard_errors_cover_the_truth_with_labels_missing_at_random():
    """800 studies of 60 rows; the standard error of a coverage of 0.95 is 0.008."""
    random = np.random.default_rng(0)
    slopes, root = np.array([[1.0, 0.5]]), np.array([[1.0, 0.0], [0.9, 0.44]])
    covered = []
    for _ in range(800):
        x = random.normal(size=(60, 1))
        y = missing_at_random(x, x @ slopes + random.normal(size=(60, 2)) @ root.T)
        model = MultivariateRegression(tol=1e-9).fit(x, y)
        covered.append(
            np.append(
                np.abs(model.coef_[:, 0] - slopes[0]) < 1.96 * model.standard_errors_[:, 0],
                np.abs(model.intercept_) < 1.96 * model.intercept_standard_errors_,
            )
        )
    coverage = np.mean(covered, axis=0)
    assert (coverage > 0.91).all(), coverage


def test_correlated_outputs_improve_the_fit_of_missing_labels():
    random = np.random.default_rng(0)
    x = random.normal(size=(2000, 1))
    shared = random.normal(size=2000)
    truth = np.column_stack([x[:, 0] + shared, x[:, 0] + shared + 0.1 * random.normal(size=2000)])
    y = truth.copy()
    y[random.random(2000) < 0.9, 1] = np.nan
    both = MultivariateRegression().fit(x, y)
    seen = ~np.isnan(y[:, 1])
    alone = MultivariateRegression().fit(x[seen], y[seen, 1])
    assert both.standard_errors_[1, 0] < 0.5 * alone.standard_errors_[0]
    assert both.residual_covariance_[0, 1] == pytest.approx(1.0, abs=0.15)


def test_rows_without_labels_change_nothing():
    x, y = data()
    more = np.vstack([x, x + 1]), np.vstack([y, np.full_like(y, np.nan)])
    one, other = MultivariateRegression().fit(x, y), MultivariateRegression().fit(*more)
    np.testing.assert_allclose(other.coef_, one.coef_, rtol=1e-9)
    assert other.n_samples_ == len(x)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("reduce", [None, dict])  # with sums of several ranks, zeros become rounding errors
@pytest.mark.parametrize("constant", [0.0, 7.5, 1000000.1])
def test_an_output_without_residuals_does_not_end_ecm_for_the_others(constant, reduce):
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 5)) + 3
    y = x @ random.normal(size=(5, 3)) + random.normal(size=(50, 3))
    y[::7, 1], y[3, 0] = np.nan, np.nan
    alone = MultivariateRegression().fit(x, y[:, :2])
    y[:, 2] = constant  # for example a pattern absent from the training slices
    y[1::5, 2] = np.nan
    fitted = MultivariateRegression(reduce=reduce).fit(x, y)
    assert fitted.log_likelihood_ == np.inf
    assert fitted.converged_
    assert abs(fitted.n_iter_ - alone.n_iter_) <= 1  # both fits use the same convergence rule
    np.testing.assert_allclose(fitted.coef_[:2], alone.coef_, atol=1e-5)
    exact = reduce is None and constant in (0.0, 7.5)  # only then is the mean exact
    np.testing.assert_allclose(fitted.coef_[2], 0, atol=0 if exact else 1e-14 * max(1, constant))
    assert fitted.intercept_[2] == pytest.approx(constant)
    np.testing.assert_allclose(fitted.standard_errors_[:2], alone.standard_errors_, rtol=1e-4)


@pytest.mark.filterwarnings("error")
def test_missing_labels_of_a_perfect_fit_are_recovered():
    random = np.random.default_rng(0)
    x, slopes = random.normal(size=(50, 5)), random.normal(size=(5, 3))
    y = x @ slopes
    y[::7, 1], y[3, 0] = np.nan, np.nan
    np.testing.assert_allclose(MultivariateRegression().fit(x, y).coef_, slopes.T, atol=1e-5)
