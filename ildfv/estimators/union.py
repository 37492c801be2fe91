"""One encoder per network layer, whose vectors are concatenated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError

from ildfv.arrays import namespace
from ildfv.errors import check
from ildfv.estimators.fisher import FisherVector


class LayerUnion(TransformerMixin, BaseEstimator):
    """Encodes the maps of each layer with a separate encoder and concatenates the vectors.

    Every layer's vector is divided by the square root of the number of layers, so that vectors of unit norm give a
    vector of unit norm. If an image has maps at several scales, first concatenate their descriptors, so that the layer
    is a list of arrays (n_i, d), one per image.

    Parameters
    ----------
    encoder : estimator, optional
        `FisherVector`, `VLAD`, `BagOfWords`, `SpatialPyramid` or `Pooling`, not fitted: `fit` fits a clone for each
        layer. If None, `FisherVector()` is used.

    Attributes
    ----------
    encoders_ : dict of str to estimator
        The fitted encoder of each layer, in the order of `X` in `fit`.
    """

    def __init__(self, encoder: Any = None) -> None:
        self.encoder = encoder

    def fit(self, X: Mapping[str, Any], y: Any = None) -> Self:
        """Fit an encoder for each layer.

        Parameters
        ----------
        X : dict of str to maps
            The maps of each layer, in any form that the encoder accepts. All layers must have the same number of
            images.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        InputError
            If `X` has no layers, or the encoder raises it.
        """
        _check_layers(X)
        recipe = FisherVector() if self.encoder is None else self.encoder
        self.encoders_ = {layer: clone(recipe).fit(maps) for layer, maps in X.items()}
        return self

    def transform(self, X: Mapping[str, Any]) -> Any:
        """The vector of each image.

        Parameters
        ----------
        X : dict of str to maps
            The maps of the layers that the encoders were fitted on.

        Returns
        -------
        array of shape (b, m)
            b is the number of images, and m the sum of the lengths of the layers' vectors. The array is of the same
            library as the maps.

        Raises
        ------
        InputError
            If the layers differ from those in `fit`, their numbers of images differ, or the encoder raises it.
        """
        self._check_fitted()
        _check_layers(X)
        same = set(X) == set(self.encoders_)
        check(same, f"layers must be {', '.join(self.encoders_)} as in fit, got {', '.join(X)}")
        vectors = [encoder.transform(X[layer]) for layer, encoder in self.encoders_.items()]
        counts = sorted({v.shape[0] for v in vectors})
        check(len(counts) == 1, f"layers must have the same number of images, got {counts}")
        return namespace(*vectors).concat(vectors, axis=1) / len(vectors) ** 0.5

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the outputs: "conv1_u_3_17" is the output "u_3_17" of the encoder of layer "conv1".

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (m,), object
            One name per output.
        """
        self._check_fitted()
        names = [
            [f"{layer}_{name}" for name in encoder.get_feature_names_out()] for layer, encoder in self.encoders_.items()
        ]
        return np.concatenate(names).astype(object)

    def _check_fitted(self) -> None:
        if not hasattr(self, "encoders_"):
            raise NotFittedError("This LayerUnion is not fitted yet: call fit first")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoders_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.dict = False, True
        return tags


def _check_layers(X: Any) -> None:
    check(isinstance(X, Mapping), f"X must be a dict of layers to maps, got {type(X).__name__}")
    check(len(X) > 0, "X must contain at least one layer, got none")
