"""Eqs. (1), (2), (3), (5), (6), compared with values computed by hand."""

import math

import numpy as np
import pytest
import torch

from ildfv.errors import InputError
from ildfv.train.losses import l2, logistic, pattern_weights, smooth_l1

F = torch.tensor([[0.0, 2.0, -1.0, 0.5], [3.0, 0.0, 0.0, 0.0]])
Y = torch.tensor([[1.0, 1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]])
BETA = torch.tensor([0.1, 0.2, 0.3, 0.4])


def test_logistic_is_eq_1():
    first = math.log(2) + math.log1p(math.exp(-2)) + math.log1p(math.exp(1)) + math.log1p(math.exp(0.5))
    second = math.log1p(math.exp(3)) + 3 * math.log(2)
    assert logistic(F, Y).tolist() == pytest.approx([first, second])


def test_balanced_logistic_is_eq_5():
    second = 0.1 * math.log1p(math.exp(3)) + 0.9 * math.log(2)
    assert logistic(F, Y, BETA)[1].item() == pytest.approx(second)


def test_logistic_stays_finite_far_from_zero():
    f = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = logistic(f, torch.tensor([[-1.0, 1.0]]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(2e4)
    assert f.grad.tolist() == [[1.0, -1.0]]


def test_l2_is_eq_2_and_balanced_eq_6():
    assert l2(F, Y).tolist() == [1 + 1 + 4 + 2.25, 16 + 1 + 1 + 1]
    assert l2(F, Y, BETA)[0].item() == pytest.approx(0.1 + 0.2 + 1.2 + 0.9)


def test_smooth_l1_is_eq_3_on_both_sides_of_one():
    f, y = torch.tensor([[0.0, 0.0, 0.0, 0.0]]), torch.tensor([[0.5, -0.5, 1.0, -3.0]])
    assert smooth_l1(f, y).item() == pytest.approx(0.125 + 0.125 + 0.5 + 2.5)
    assert smooth_l1(f, y, BETA).item() == pytest.approx(0.0125 + 0.025 + 0.15 + 1.0)


def test_weights_are_one_minus_the_share_over_c():
    present = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])  # |Y_k| = 3, 1, 0, 1; |Y| = 5
    assert pattern_weights(present).tolist() == pytest.approx([0.4 / 4, 0.8 / 4, 1 / 4, 0.8 / 4])
    assert pattern_weights(present).sum() == pytest.approx(3 / 4)  # (C − 1)/C, always


@pytest.mark.parametrize("seen", [0, 1])
def test_weights_need_two_patterns(seen):
    present = np.zeros((3, 4))
    present[:, :seen] = 1
    with pytest.raises(InputError, match=f"at least two patterns in the training slices, got {seen}"):
        pattern_weights(present)
