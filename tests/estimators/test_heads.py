"""Heads for few rows: unknown labels have no effect, groups stay together, and noise is shrunk away."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ildfv.errors import InputError
from ildfv.estimators.heads import KINDS, fit_head
from ildfv.evaluation.metrics import roc_auc

GROUPS = np.repeat(np.arange(10), 6)


def problem(p=20, seed=0, effect=4.0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(60, p))
    return x, (effect * x[:, :2] + random.normal(size=(60, 2)) > 0).astype(float)


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_scores_and_predictions_find_the_signal(kind):
    x, y = problem()
    head = fit_head(kind, x, y, GROUPS)
    new, truth = problem(seed=1)
    for k in range(2):
        assert roc_auc(truth[:, k], head.predict(new)[:, k]) > 0.75
        assert 0.7 < roc_auc(y[:, k], head.held_out[:, k]) <= roc_auc(y[:, k], head.predict(x)[:, k])


@pytest.mark.parametrize("kind", KINDS)
def test_pure_noise_gets_a_large_penalty(kind):
    x, _ = problem(p=50)
    y = np.random.default_rng(3).integers(0, 2, (60, 1))
    assert fit_head(kind, x, y, GROUPS).penalties[0] >= 0.1


def test_a_group_is_never_scored_by_a_model_that_saw_it():
    """Features identify the group and labels are constant within it: memorising groups cannot help."""
    x = np.eye(10)[GROUPS]
    y = (GROUPS % 2 == 0).astype(float)[:, None]
    assert roc_auc(y[:, 0], fit_head("ridge", x, y, GROUPS).held_out[:, 0]) <= 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_labels_have_no_effect_on_the_fit(kind):
    x, y = problem()
    y[:12, 0] = np.nan
    masked = fit_head(kind, x, y, GROUPS, penalties=[0.01])
    x_scaled = x.copy()
    x_scaled[:12] = x_scaled[:12][::-1]  # the rows without labels in another order
    other = fit_head(kind, x_scaled, y, GROUPS, penalties=[0.01])
    np.testing.assert_allclose(masked.coef[0], other.coef[0], atol=1e-6)


def test_the_logistic_head_equals_scikit_learns():
    x, y = problem()
    centred = x - x.mean(0)
    scale = np.sqrt((centred**2).sum(1).mean())
    expected = LogisticRegression(C=1 / (0.01 * 60), max_iter=2000, tol=1e-9).fit(centred / scale, y[:, 0])
    head = fit_head("logistic", x, y, GROUPS, penalties=[0.01])
    np.testing.assert_allclose(head.predict(x)[:, 0], expected.decision_function(centred / scale), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_an_output_with_one_class_or_no_label_has_a_constant_score(kind, value):
    x, y = problem()
    y[:, 1] = value
    head = fit_head(kind, x, y, GROUPS)
    assert np.isnan(head.penalties[1])
    assert len(np.unique(head.predict(x)[:, 1])) == len(np.unique(head.held_out[:, 1])) == 1


def test_input_that_breaks_a_rule_is_refused():
    x, y = problem()
    with pytest.raises(InputError, match="head must be ridge or logistic"):
        fit_head("forest", x, y, GROUPS)
    with pytest.raises(InputError, match="groups must have at least 2 values"):
        fit_head("ridge", x, y, np.zeros(60))
    with pytest.raises(InputError, match="y must be 0, 1 or NaN"):
        fit_head("logistic", x, 3 * y, GROUPS)
    with pytest.raises(InputError, match="x must be finite"):
        fit_head("ridge", np.where(x > 2, np.nan, x), y, GROUPS)
