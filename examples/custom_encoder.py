# %% [markdown]
# # An encoder of your own
#
# An encoder is a scikit-learn transformer from maps (b, d, h, w) to vectors (b, length). The encoder of this example
# computes the covariance of the descriptors of each map ("bilinear" or second-order pooling). It works in a
# scikit-learn pipeline, and in a workspace as another encoder in addition to `fisher`, `vlad` and `mean`.
#
#     python examples/custom_encoder.py
#
# Prints the cross-validated accuracy of this encoder and of two encoders of ildfv, on the same descriptors of
# photographs.

# %%
from __future__ import annotations

from typing import Self

import numpy as np
from skimage import data
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from ildfv import FisherVector, GaussianMixture, Pooling
from ildfv.pipeline.encoders import ENCODERS, Encoder, Kind, Training
from ildfv.texture import texture_features

SIDE, PATCHES = 40, 9


# %%
class CovariancePooling(TransformerMixin, BaseEstimator):
    """The upper triangle of the covariance of each map's descriptors, standardised by the training descriptors.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (d,)
        Mean and standard deviation of all descriptors.
    """

    def fit(self, X: list[np.ndarray], y=None) -> Self:
        """Compute mean and scale from sums over maps, in constant memory. X: list of arrays (n_i, d)."""
        count, total, squares = 0, 0.0, 0.0
        for rows in X:
            rows = np.asarray(rows, np.float64)
            count, total, squares = count + len(rows), total + rows.sum(0), squares + (rows**2).sum(0)
        self.mean_ = total / count
        self.scale_ = np.sqrt(np.maximum(squares / count - self.mean_**2, 1e-12))
        return self

    def transform(self, X: list[np.ndarray]) -> np.ndarray:
        """Vectors (b, d·(d + 1)/2), with the signed square root and unit norm of an improved Fisher vector."""
        vectors = []
        for rows in X:
            z = (np.asarray(rows, np.float64) - self.mean_) / self.scale_
            upper = (z.T @ z / len(z))[np.triu_indices(z.shape[1])]
            root = np.sign(upper) * np.sqrt(np.abs(upper))
            vectors.append(root / max(float(np.linalg.norm(root)), 1e-12))
        return np.stack(vectors)


# %% [markdown]
# For use in a workspace, register a function that fits the encoder on the maps of the fit slices. Then
# `ildfv.pipeline.encode.encode(…, encoder="covariance")` fits a PCA on the vectors and stores the projections of all
# slices. It can be resumed, as for Fisher vectors. `Training` gives access to the slices, the layer and the settings.


# %%
def fit_covariance(training: Training) -> Encoder:
    """The encoder of a layer in a workspace, fitted on the fit slices."""
    maps = training.activations(training.slices.images(training.indices))  # (m, d, h, w), all at once
    rows = [map_.reshape(len(map_), -1).T for map_ in np.asarray(maps)]
    d = training.activations.d
    return Encoder(CovariancePooling().fit(rows), d * (d + 1) // 2)


ENCODERS["covariance"] = Kind(fit_covariance)


# %%
def main(n: int = PATCHES) -> dict[str, float]:
    """The accuracy of each encoder, averaged over three folds."""
    rng, images, labels = np.random.default_rng(0), [], []
    for label, pixels in enumerate((data.brick(), data.grass(), data.gravel())):
        for top, left in rng.integers(0, 512 - SIDE, (n, 2)):
            images.append(pixels[top : top + SIDE, left : left + SIDE])
            labels.append(label)
    maps = texture_features(images, backbone="filters", layers=["derivatives"], scales=(1.0,))[
        "derivatives"
    ]  # list of (n_i, 18)
    encoders = {
        "covariance (this file)": CovariancePooling(),
        "Fisher vector": FisherVector(GaussianMixture(8, method="stepwise", max_iter=3, tol=0.1, random_state=0)),
        "mean": Pooling("mean"),
    }
    accuracies = {}
    for name, encoder in encoders.items():
        model = make_pipeline(encoder, LogisticRegression(C=10, max_iter=1000))
        accuracies[name] = float(cross_val_score(model, maps, labels, cv=3).mean())
        print(f"{name}: {100 * accuracies[name]:.1f} % of {len(labels)} patches")
    return accuracies


# %%
if __name__ == "__main__":
    main()
