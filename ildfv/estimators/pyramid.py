"""Spatial pyramids: the concatenated vectors of the cells of grids over a map."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError

from ildfv.arrays import dtype_name, namespace, to_numpy
from ildfv.errors import check, check_integer
from ildfv.estimators.fisher import FisherVector
from ildfv.estimators.images import IF_IMAGES, PIXELS, check_not_images
from ildfv.estimators.maps import floating
from ildfv.weighted import Weighted, split


class SpatialPyramid(TransformerMixin, BaseEstimator):
    """An orderless encoder, applied to the whole map and to the cells of finer grids.

    Parameters
    ----------
    encoder : estimator, optional
        An encoder of maps (b, d, h, w): `FisherVector`, `VLAD`, `BagOfWords` or `Pooling`. A fitted encoder is used
        unchanged; otherwise `fit` fits a clone on whole maps. None: `FisherVector()`.
    grids : tuple of int
        Number of cells along each side, one entry per level. (1, 2): the map and its quarters.

    Attributes
    ----------
    encoder_ : estimator
        The fitted encoder.

    References
    ----------
    Lazebnik, Schmid & Ponce, "Beyond bags of features: spatial pyramid matching", CVPR 2006.
    """

    def __init__(self, encoder: Any = None, *, grids: Any = (1, 2)) -> None:
        self.encoder = encoder
        self.grids = grids

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit a clone of the encoder on whole maps, unless a fitted encoder was given.

        Parameters
        ----------
        X : array, list or iterable
            Maps (b, d, h, w), a list of maps (d, h, w), or a stream of batches if the encoder accepts streams.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        InputError
            `grids` is empty or contains anything but positive integers, or the encoder's `fit` raises it.
        """
        self._check_settings()
        recipe = FisherVector() if self.encoder is None else self.encoder
        self.encoder_ = recipe if _ready(recipe) else clone(recipe).fit(X)
        return self

    def transform(self, X: Any, weights: Any = None) -> Any:
        """The concatenated vectors of all cells.

        Parameters
        ----------
        X : array of shape (b, d, h, w), `Weighted`, or list of arrays (d, h_i, w_i)
            NumPy, torch or CuPy; real numbers. Values must be finite, except in descriptors of weight 0. Integers of 8
            or 16 bits whose last axis may be the channels of an image are refused.
        weights : array of shape (b, h·w), or list of arrays (h_i·w_i,), optional
            Weight of each descriptor, at least 0, in row-major order. By default the weights of a `Weighted` X,
            otherwise 1 each.

        Returns
        -------
        array of shape (b, cells · m)
            With vectors of length m from the encoder. Levels are in the order of `grids`, the cells of a level row by
            row. In X's array library.

        Raises
        ------
        InputError
            `grids` or `weights` are invalid, X has a wrong shape, a grid has more cells along a side than a map has
            rows or columns, or the encoder raises it.
        NotFittedError
            `fit` was not called, and no fitted encoder was given.
        """
        self._check_settings()
        check_not_images(X, "maps")
        return self._transform_list(X, weights) if isinstance(X, (list, tuple)) else self._vectors(X, weights)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the outputs: "2_0_1_u_3_17" is the output "u_3_17" of the cell in row 0, column 1 of the 2×2 grid.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (cells · m,), object
            One name per output.
        """
        self._check_settings()
        names = self._fitted_encoder().get_feature_names_out()
        cells = [f"{g}_{row}_{column}" for g in self.grids for row in range(g) for column in range(g)]
        return np.array([f"{cell}_{name}" for cell in cells for name in names], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def _vectors(self, X: Any, weights: Any = None) -> Any:
        encoder = self._fitted_encoder()
        X, own = split(X)
        weights = own if weights is None else weights
        shape = tuple(np.shape(X))
        check(len(shape) == 4, f"maps must be (b, d, h, w), got shape {shape}")
        if dtype_name(X) in PIXELS:
            X = floating(X)  # a cell may have the shape of an image
        most = max(self.grids)
        check(min(shape[2:]) >= most, f"maps must have at least {most} rows and columns, got shape {shape}")
        vectors = (
            [encoder.transform(cell) for cell in self._cells(X)] if weights is None else self._weighted(X, weights)
        )
        return namespace(*vectors).concat(vectors, axis=1)

    def _transform_list(self, maps: Any, weights: Any) -> Any:
        for i, one in enumerate(maps):
            check(np.ndim(one) == 3, f"maps[{i}] must have shape (d, h, w), got {np.shape(one)}")
        widths = sorted({one.shape[0] for one in maps})
        check(len(widths) == 1, f"maps must all have the same number of features, got {widths}: {IF_IMAGES}")
        if weights is None:
            vectors = [self._vectors(one[None, ...]) for one in maps]
        else:
            check(len(weights) == len(maps), f"weights must have one entry per map ({len(maps)}), got {len(weights)}")
            pairs = zip(maps, weights, strict=True)
            vectors = [self._vectors(one[None, ...], to_numpy(omega)[None, :]) for one, omega in pairs]
        return namespace(*vectors).concat(vectors, axis=0)

    def _weighted(self, maps: Any, weights: Any) -> list[Any]:
        encoder = self._fitted_encoder()
        b, _, h, w = maps.shape
        grid = Weighted(maps, to_numpy(weights)).weights.reshape(b, 1, h, w)
        pairs = zip(self._cells(maps), self._cells(grid), strict=True)
        return [encoder.transform(cell, weights=omega.reshape(b, -1)) for cell, omega in pairs]

    def _cells(self, maps: Any) -> Iterator[Any]:
        xp, (h, w) = namespace(maps), maps.shape[2:]
        for g in self.grids:
            rows, columns = (np.linspace(0, n, g + 1).round().astype(int).tolist() for n in (h, w))
            for top, bottom in pairwise(rows):
                for left, right in pairwise(columns):
                    cell = maps[:, :, top:bottom, left:right]
                    # reshaped through a single axis, which copies the cell, so that all cells have one memory layout
                    yield maps if g == 1 else xp.reshape(xp.reshape(cell, (-1,)), cell.shape)

    def _fitted_encoder(self) -> Any:
        if hasattr(self, "encoder_"):
            return self.encoder_
        if self.encoder is None or not _ready(self.encoder):
            raise NotFittedError("This SpatialPyramid is not fitted yet: call fit first, or pass a fitted encoder")
        return self.encoder

    def _check_settings(self) -> None:
        check(len(self.grids) > 0, "grids must contain at least one level, got none")
        for g in self.grids:
            check_integer(g, "grids", 1)


def n_cells(grids: Any) -> int:
    """The number of cells of all levels."""
    return sum(g * g for g in grids)


def _ready(encoder: Any) -> bool:
    """Whether the encoder can transform without `fit`: it is fitted, or all that `fit` would learn was passed to it."""
    if hasattr(encoder, "__sklearn_is_fitted__"):
        return bool(encoder.__sklearn_is_fitted__())
    return hasattr(encoder, "mixture_") or hasattr(getattr(encoder, "mixture", None), "weights_")
