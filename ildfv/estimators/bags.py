"""Multiple-instance learning: labels of bags of rows, and scores of bags from the scores of their rows.

A bag is, for example, a scan, and its rows are slices. A bag is positive if at least one of its rows is, and negative
if none is. With row scores s, which are logits, the score of a bag is

- "max": the largest s of the bag;
- "noisy-or": the logit of P = 1 − Π (1 − σ(s)), the probability that at least one of several independent rows is
  positive (Zhang, Platt & Viola, "Multiple instance boosting for object detection", 2005).

With A = Σ log(1 + exp(s)) = −log(1 − P), the noisy-or score is log(exp(A) − 1). It is at least the largest s, and
equal to s in a bag of one row. The scores are therefore on one scale: a row whose score reaches a decision threshold
makes its bag reach the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ildfv.errors import check

NOISY_OR, MAX = "noisy-or", "max"
POOLINGS = (NOISY_OR, MAX)
SMALLEST = 1e-300  # smallest A: with scores below −690, exp(s) underflows


@dataclass(frozen=True)
class Bags:
    """The bag of each row, and how the scores of the rows of a bag are pooled.

    pooling: "noisy-or" or "max". of: bag of each row, integers (n,), ascending: the rows of a bag are adjacent.
    """

    pooling: str
    of: np.ndarray

    def __post_init__(self) -> None:
        check_pooling(self.pooling)
        check(bool((np.diff(self.of) >= 0).all()), "bags must be ascending, got rows in another order")

    @property
    def starts(self) -> np.ndarray:
        """The first row of each bag, (bags,)."""
        return np.flatnonzero(np.diff(self.of, prepend=self.of[0] - 1)) if len(self.of) else np.empty(0, int)

    def pick(self, rows: np.ndarray) -> Bags:
        """The bags of some rows. rows: ascending indices, or a mask (n,)."""
        return Bags(self.pooling, self.of[rows])

    def pooled(self, scores: np.ndarray) -> np.ndarray:
        """The scores of the bags, (bags,) or (bags, c). scores: of the rows, (n,) or (n, c)."""
        return pooled(self.pooling, scores, self.starts)


def check_pooling(pooling: str) -> None:
    """Raises InputError unless `pooling` is one of `POOLINGS`."""
    check(pooling in POOLINGS, f'bags must be {" or ".join(POOLINGS)}, got "{pooling}"')


def pooled(pooling: str, scores: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """The scores of bags from the scores of their rows; float64, one row per bag.

    Parameters
    ----------
    pooling : {"noisy-or", "max"}
    scores : ndarray of shape (n,) or (n, c)
        Scores of the rows, as logits. The rows of a bag are adjacent.
    starts : ndarray of shape (bags,), optional
        The first row of each bag. By default all rows are one bag.
    """
    check_pooling(pooling)
    scores = np.asarray(scores, np.float64)
    starts = np.zeros(1, int) if starts is None else starts
    if pooling == MAX:
        return np.maximum.reduceat(scores, starts, axis=0)
    with np.errstate(invalid="ignore"):  # NaN: a pattern without labels has no scores
        return _logit_of(np.add.reduceat(np.logaddexp(0, scores), starts, axis=0))


def shared_score(pooling: str, score: float, size: float) -> float:
    """The row score for which a bag of `size` rows with equal scores has this bag score."""
    return score if pooling == MAX else float(_logit_of(np.logaddexp(0, score) / size))


def _logit_of(a: np.ndarray) -> np.ndarray:
    """log(exp(A) − 1): the logit of P = 1 − exp(−A)."""
    a = np.maximum(a, SMALLEST)
    return a + np.log(-np.expm1(-a))


def noisy_or_loss(scores: np.ndarray, starts: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """(mean logistic loss of the noisy-or scores of the bags, its derivative with respect to the row scores (n,)).

    scores: of the rows, (n,). starts: first row of each bag, (bags,). y: 0 or 1, (bags,).

    The loss of a positive bag is −log P. The loss of a negative bag is A, the sum of its rows' losses as negatives.
    """
    from scipy.special import expit

    a = np.maximum(np.add.reduceat(np.logaddexp(0, scores), starts), SMALLEST)  # (bags,)
    loss = np.where(y > 0, -np.log(-np.expm1(-a)), a)
    by_a = np.where(y > 0, -np.exp(-a) / -np.expm1(-a), 1.0)
    return float(loss.mean()), _spread(by_a, starts, len(scores)) * expit(scores) / len(starts)


def soft_max_loss(scores: np.ndarray, starts: np.ndarray, y: np.ndarray, sharpness: float) -> tuple[float, np.ndarray]:
    """(mean logistic loss of smooth maxima of the bags, its derivative with respect to the row scores (n,)).

    The smooth maximum log(Σ exp(sharpness · s)) / sharpness exceeds the maximum of m rows by at most
    log(m) / sharpness. Unlike the maximum, it is differentiable. The other parameters are those of `noisy_or_loss`.
    """
    from scipy.special import expit

    n = len(scores)
    highest = np.maximum.reduceat(scores, starts)
    share = np.exp(sharpness * (scores - _spread(highest, starts, n)))  # (n,)
    total = np.add.reduceat(share, starts)
    z, sign = highest + np.log(total) / sharpness, 2 * y - 1  # (bags,)
    by_z = -sign * expit(-sign * z)
    slope = _spread(by_z / total, starts, n) * share / len(starts)
    return float(np.logaddexp(0, -sign * z).mean()), slope


def _spread(values: np.ndarray, starts: np.ndarray, n: int) -> np.ndarray:
    """The value of each row's bag, (n,)."""
    return np.repeat(values, np.diff(starts, append=n))
