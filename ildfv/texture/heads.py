"""Linear classifiers of vectors, whose kind and penalty are chosen by cross-validation on the training images."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from ildfv.estimators.pca import PCA
from ildfv.texture.choices import HEADS, check_kind

WIDEST = 512  # maximum number of principal components
SPLITS = 5  # maximum number of splits of the inner cross-validation
PENALTIES = {  # relative to the mean squared norm of the projections
    "regression": (1e-1, 1e-2, 1e-3, 1e-4),
    "logistic": (1e-1, 1e-2, 1e-3),
    "svm": (1e0, 1e-1, 1e-2),
}


@dataclass(frozen=True)
class Head:
    """Scores (b, C) = (vectors − mean)·componentsᵀ·coefᵀ + intercept; the class of the highest score is predicted.

    kind, penalty: the chosen kind and penalty. inner_accuracy: their accuracy in the inner cross-validation; None if
    there was no cross-validation.
    """

    mean: np.ndarray
    components: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    kind: str
    penalty: float
    inner_accuracy: float | None

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Scores (b, C) of vectors (b, m)."""
        return (vectors - self.mean) @ self.components.T @ self.coef.T + self.intercept

    def functional(self) -> np.ndarray:
        """The weight of each value of a vector in each score, (C, m)."""
        return self.coef @ self.components


def fit_head(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, *, kind: str, seed: int) -> Head:
    """The head fitted on all vectors (n, m) with labels 0 … C − 1 (n,).

    kind: one of HEADS, or "auto". Candidates are compared by their accuracy on held-out images; images of one group are
    held out together. Ties are decided by the order of HEADS, then by the larger penalty. Nothing can be held out
    without groups if a class has a single image, and with groups if no split leaves images of two classes for the fit.
    The second-largest penalty of the first kind is then used.
    """
    check_kind(kind)
    kinds = HEADS if kind == "auto" else (kind,)
    pca = PCA(min(WIDEST, len(vectors) - 1, vectors.shape[1]) or 1).fit(vectors)
    x = pca.transform(vectors).astype(np.float64)
    scale = float(np.sqrt((x**2).sum(axis=1).mean())) or 1.0
    x /= scale
    candidates = [(one, penalty) for one in kinds for penalty in PENALTIES[one]]
    best, accuracy = candidates[1], None
    with threadpool_limits(1):
        splits = inner_splits(labels, groups, seed)
        if splits and len(candidates) > 1:
            found = [held_out_accuracy(x, labels, splits, *candidate) for candidate in candidates]
            best, accuracy = candidates[int(np.argmax(found))], float(max(found))
        coef, intercept = solved(x, labels, *best)
    mean, components, coef = (np.array(a, order="C") for a in (pca.mean_, pca.components_, coef / scale))
    return Head(mean, components, coef, intercept, best[0], best[1], accuracy)


def inner_splits(labels: np.ndarray, groups: np.ndarray | None, seed: int) -> list:
    """(indices for the fit, held-out indices) of each split, by group if there are groups; [] if none is possible."""
    counts = np.bincount(labels)
    fewest, largest = int(counts[counts > 0].min()), int(counts.max())
    if groups is not None:
        n_splits = min(SPLITS, len(np.unique(groups)), largest)
        if n_splits < 2:
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a class with fewer groups than folds is expected
            splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
            splits = list(splitter.split(labels, labels, groups))
        return [(a, b) for a, b in splits if len(b) and len(np.unique(labels[a])) > 1]
    if fewest < 2:
        return []
    splitter = StratifiedKFold(min(SPLITS, fewest), shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels))


def held_out_accuracy(x: np.ndarray, labels: np.ndarray, splits: list, kind: str, penalty: float) -> float:
    """The share of all held-out images that are classified correctly."""
    right = 0
    total = 0
    for fit, rest in splits:
        known, relabelled = np.unique(labels[fit], return_inverse=True)
        coef, intercept = solved(x[fit], relabelled, kind, penalty)
        right += int((known[(x[rest] @ coef.T + intercept).argmax(axis=1)] == labels[rest]).sum())
        total += len(rest)
    return right / total


def solved(x: np.ndarray, labels: np.ndarray, kind: str, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (C, p) and intercepts (C,) of scores."""
    if kind == "regression":
        y = np.eye(labels.max() + 1)[labels]
        mean, centre = y.mean(axis=0), x.mean(axis=0)
        e = x - centre
        gram = e.T @ e + penalty * len(x) * np.eye(x.shape[1]) / x.shape[1] ** 0.5
        coef = np.linalg.solve(gram, e.T @ (y - mean)).T
        return coef, mean - coef @ centre
    c = 1 / (penalty * len(x) ** 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = (
            LinearSVC(C=10 * c, random_state=0) if kind == "svm" else LogisticRegression(C=100 * c, max_iter=500)
        ).fit(x, labels)
    if len(model.coef_) == 1:  # for two classes, scikit-learn has one score, that of the second class
        return np.concatenate([-model.coef_, model.coef_]), np.concatenate([-model.intercept_, model.intercept_])
    return model.coef_, model.intercept_
