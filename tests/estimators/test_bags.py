"""Labels of bags: scores by hand, gradients against a float64 reference, and rows found from labels of bags."""

from functools import partial

import numpy as np
import pytest
from scipy.special import expit, logit

from ildfv.errors import InputError
from ildfv.estimators.bag_path import bag_path
from ildfv.estimators.bags import MAX, NOISY_OR, POOLINGS, Bags, noisy_or_loss, pooled, shared_score, soft_max_loss
from ildfv.estimators.head_choice import fit_chosen_head
from ildfv.estimators.heads import fit_head
from ildfv.evaluation.metrics import roc_auc

STARTS = np.array([0, 3, 4])  # bags of 3, 1 and 2 rows


def test_noisy_or_is_one_minus_the_product_by_hand():
    scores = logit(np.array([0.5, 0.2, 0.1, 0.3, 0.9, 0.5]))
    expected = [1 - 0.5 * 0.8 * 0.9, 0.3, 1 - 0.1 * 0.5]
    np.testing.assert_allclose(expit(pooled(NOISY_OR, scores, STARTS)), expected, rtol=1e-12)


def test_max_is_the_largest_score_by_hand():
    scores = np.array([[0.5, 9], [2.0, 8], [-1.0, 7], [3.0, -6], [-2.0, 5], [-3.0, 4]])
    assert pooled(MAX, scores, STARTS).tolist() == [[2.0, 9], [3.0, -6], [-2.0, 5]]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_bag_of_one_row_has_the_score_of_the_row_even_if_it_is_extreme(pooling):
    scores = np.array([-600.0, -40.0, -1e-9, 0.0, 40.0, 800.0])
    np.testing.assert_allclose(pooled(pooling, scores, np.arange(6)), scores, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_bag_scores_at_least_as_high_as_each_of_its_rows(pooling):
    scores = np.random.default_rng(0).normal(scale=5, size=(200, 3))
    assert (pooled(pooling, scores)[0] >= scores.max(axis=0)).all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_equal_rows_with_the_shared_score_give_the_score_of_the_bag(pooling):
    row = shared_score(pooling, 0.7, 5)
    assert pooled(pooling, np.full(5, row))[0] == pytest.approx(0.7)


def reference_loss(pooling, scores, starts, y, sharpness=None):
    """The loss bag by bag, written as in the module's docstring."""
    total = 0.0
    for rows, label in zip(np.split(scores, starts[1:]), y, strict=True):
        if pooling == NOISY_OR:
            p = 1 - np.prod(1 - expit(rows))
        else:
            p = expit(np.log(np.sum(np.exp(sharpness * rows))) / sharpness)
        total -= label * np.log(p) + (1 - label) * np.log(1 - p)
    return total / len(starts)


@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        (noisy_or_loss, partial(reference_loss, NOISY_OR)),
        *((partial(soft_max_loss, sharpness=r), partial(reference_loss, MAX, sharpness=r)) for r in (1.0, 4.0, 16.0)),
    ],
)
@pytest.mark.parametrize("y", [(1, 0, 1), (0, 1, 0), (1, 1, 1)])
def test_losses_and_gradients_agree_with_the_reference(loss, reference, y):
    y = np.array(y, float)
    scores = np.random.default_rng(1).normal(size=6)
    value, slope = loss(scores, STARTS, y)
    assert value == pytest.approx(reference(scores, STARTS, y), rel=1e-12)
    step = 1e-5
    for i, each in enumerate(np.eye(6) * step):
        numeric = (reference(scores + each, STARTS, y) - reference(scores - each, STARTS, y)) / (2 * step)
        assert slope[i] == pytest.approx(numeric, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("loss", [noisy_or_loss, partial(soft_max_loss, sharpness=16.0)])
@pytest.mark.parametrize("scale", [-900.0, 900.0])
def test_losses_are_finite_for_extreme_scores(loss, scale):
    value, slope = loss(np.full(6, scale), STARTS, np.array([1.0, 0.0, 1.0]))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def problem(seed=0, bags=60, size=8, p=5):
    """Rows of which feature 0 is the truth. Returns x, truth, label of each row's bag, bag."""
    random = np.random.default_rng(seed)
    of = np.repeat(np.arange(bags), size)
    shown = random.random(bags) < 0.5
    truth = np.zeros((bags, size), bool)
    for b in np.flatnonzero(shown):
        truth[b, random.choice(size, 2, replace=False)] = True
    x = random.normal(size=(bags * size, p))
    x[:, 0] += 2.5 * truth.ravel()
    return x, truth.ravel(), shown[of].astype(float)[:, None], of


@pytest.mark.parametrize("pooling", POOLINGS)
def test_labels_of_bags_find_the_positive_rows(pooling):
    x, _, y, of = problem()
    head = fit_head("logistic", x, y, of // 6, bags=Bags(pooling, of))
    new, new_truth, new_y, _ = problem(seed=1)
    scores = head.predict(new)
    assert roc_auc(new_truth.astype(float), scores[:, 0]) > 0.9
    assert roc_auc(new_y[::8, 0], pooled(pooling, scores[:, 0], np.arange(0, len(of), 8))) > 0.8
    assert roc_auc(y[::8, 0], Bags(pooling, of).pooled(head.held_out)[:, 0]) > 0.8


@pytest.mark.parametrize("pooling", POOLINGS)
def test_bags_of_one_row_give_the_logistic_head(pooling):
    x, truth, _, of = problem()
    y, groups = truth[:, None].astype(float), of // 6
    plain = fit_head("logistic", x, y, groups, penalties=[0.01])
    single = fit_head("logistic", x, y, groups, penalties=[0.01], bags=Bags(pooling, np.arange(len(x))))
    np.testing.assert_allclose(single.predict(x), plain.predict(x), atol=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_no_small_change_of_the_weights_lowers_the_loss(pooling):
    x, _, y, of = problem(bags=30)
    bags = Bags(pooling, of)
    w, b = bag_path(x, y[:, 0], bags, [0.01])
    loss = noisy_or_loss if pooling == NOISY_OR else partial(soft_max_loss, sharpness=16.0)

    def penalised(w, b):
        return loss(x @ w + b, bags.starts, y[bags.starts, 0])[0] + 0.005 * (w @ w)

    best = penalised(w[0], b[0])
    for step in np.random.default_rng(2).normal(scale=1e-2, size=(50, 6)):
        assert penalised(w[0] + step[:5], b[0] + step[5]) > best


def test_unknown_bags_have_no_effect_and_one_class_gives_a_constant_score():
    x, _, y, of = problem()
    y = np.concatenate([y, np.ones_like(y)], axis=1)
    y[:80, 0] = np.nan
    changed = x.copy()
    changed[:80] = changed[:80][::-1]
    first, second = (
        fit_head("logistic", a, y, of // 6, penalties=[0.01], bags=Bags(NOISY_OR, of)) for a in (x, changed)
    )
    np.testing.assert_allclose(first.coef[0], second.coef[0], atol=1e-4)
    assert (first.coef[1] == 0).all()
    assert np.isnan(first.penalties[1])
    assert expit(pooled(NOISY_OR, first.predict(x)[:8, 1])[0]) == pytest.approx(61 / 62)


def test_the_choice_of_inputs_compares_errors_of_bags():
    x, _, y, of = problem()
    given = {"candidates": {"noise": np.r_[0.0, np.ones(4)], "all": np.ones(5)}, "bags": Bags(NOISY_OR, of)}
    assert fit_chosen_head("logistic", x, y, of // 6, **given).names == ("all",)


def test_bags_that_break_a_rule_are_refused():
    x, _, y, of = problem()
    with pytest.raises(InputError, match='bags must be noisy-or or max, got "mean"'):
        Bags("mean", of)
    with pytest.raises(InputError, match="bags must be ascending"):
        Bags(MAX, of[::-1])
    with pytest.raises(InputError, match="head must be logistic with labels of bags"):
        fit_head("ridge", x, y, of // 6, bags=Bags(MAX, of))
    with pytest.raises(InputError, match="a bag must be in one group"):
        fit_head("logistic", x, y, np.arange(len(of)) % 7, bags=Bags(MAX, of))
    y[0] = 1 - y[0]
    with pytest.raises(InputError, match="y must be equal in all rows of a bag"):
        fit_head("logistic", x, y, of // 6, bags=Bags(MAX, of))
    with pytest.raises(InputError, match="bags must have 480 rows, got 479"):
        fit_head("logistic", x, y, of // 6, bags=Bags(MAX, of[1:]))
