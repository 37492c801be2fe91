"""Heads of a predictor.

A Fisher head computes linear scores from the projections of encodings and from additional inputs. The scores of a CNN
head are outputs of a network, which `layers` computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.estimators.fixed import FixedFisher, FixedMixture, FixedProjection
from ildfv.estimators.projected import projected
from ildfv.evaluation.thresholds import Decisions, Sigmoid
from ildfv.inference import schema
from ildfv.inference.cnn_methods import CnnMethod
from ildfv.inference.conformal import Conformal
from ildfv.inference.contributions import contributions
from ildfv.patterns import Threshold

COLUMNS = 1 << 15  # columns of the components that are converted to float64 at once


def decisions_of(head: schema.Head) -> Decisions:
    """The thresholds and sigmoids of a head, as `Decisions`."""
    return Decisions(tuple(head.thresholds), sigmoids_of(head.sigmoids))


def sigmoids_of(sigmoids: Sequence[schema.Sigmoid | None]) -> tuple[Sigmoid | None, ...]:
    """The sigmoids of predictor.json, as `Sigmoid`."""
    return tuple(None if s is None else Sigmoid(s.slope, s.intercept) for s in sigmoids)


def conformal_of(sets: schema.ConformalSets) -> Conformal:
    """The conformal sets of a head, as `Conformal`."""
    return Conformal(
        sets.level,
        tuple(sets.present_from),
        tuple(sets.absent_to),
        tuple(sets.present_patients),
        tuple(sets.absent_patients),
    )


def mapped_head(info: schema.PredictorInfo, method: CnnMethod) -> schema.Head:
    """The head for which maps of the network's outputs are computed. InputError: there is no CNN head.

    It is the primary head or, if that is not a CNN head, the first CNN head.
    """
    found = sorted((head for head in info.heads if head.kind == schema.CNN), key=lambda head: head.name != info.primary)
    names = ", ".join(head.name for head in info.heads)
    check(bool(found), f"{method.title} needs a predictor with a CNN head, got {names}: run `ildfv export --cnn`")
    return found[0]


def estimated_pixels(scores: np.ndarray, threshold: Threshold, curves: Sequence[schema.Curve | None]) -> np.ndarray:
    """Estimated number of pixels on a 512×512 grid, (m, C).

    curves: a curve from score to pixels for each pattern. The pixels of a pattern whose curve is None are NaN. Without
    any curves, the scores themselves are estimates, in units of the threshold, which is then in pixels.
    """
    if not curves:
        return np.maximum(scores, 0) * int(threshold)
    pixels = np.full(scores.shape, np.nan)
    for c, curve in enumerate(curves):
        if curve is not None:
            pixels[:, c] = np.interp(scores[:, c], curve.scores, curve.pixels)
    return pixels


@dataclass(frozen=True)
class FisherEncoding:
    """Computes the Fisher vectors of a layer's maps, and their residuals after PCA."""

    info: schema.Encoding
    fisher: FixedFisher
    pca: FixedProjection

    @classmethod
    def restored(cls, info: schema.Encoding, tensors: dict[str, dict[str, np.ndarray]]) -> FisherEncoding:
        """The encoding with the given tensors of its estimators, "mixture" and "pca"."""
        mixture = FixedMixture.from_tensors(tensors["mixture"])
        return cls(
            info,
            FixedFisher(mixture, improved=info.improved),
            FixedProjection.from_tensors(tensors["pca"], info.estimators["pca"]),
        )

    def vectors(self, maps, weights: np.ndarray | None = None) -> np.ndarray:
        """Fisher vectors of the slices with the given maps (b, d, h, w), float32 (b, 2·k·d), as in `ildfv encode`."""
        return to_numpy(self.fisher.transform(maps, weights=weights)).astype(np.float32)

    def residuals(self, vectors: np.ndarray) -> np.ndarray:
        """The part of each Fisher vector (b, 2·k·d) that the PCA does not represent, relative to the vector, (b,).

        For the mean m and the orthonormal components P of the PCA, it is ‖f − m − Pᵀ P (f − m)‖ / ‖f‖. The square of
        the numerator is ‖f − m‖² − ‖P (f − m)‖². The residual of a zero vector is NaN. A slice without
        descriptors in the region has a zero vector.
        """
        centred = vectors.astype(np.float64) - self.pca.mean_
        projections = projected(vectors, self.pca.mean_, self.pca.components_).astype(np.float64)
        rest = np.sum(centred**2, axis=1) - np.sum(projections**2, axis=1)
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(norms > 0, np.sqrt(np.maximum(rest, 0)) / norms, np.nan)


@dataclass(frozen=True)
class HeadPart:
    """The part of a head that uses one encoding.

    coef: coefficients of the scaled projections, float64 (C, p). scale: number by which the projections are divided;
    None: 1.
    """

    name: str
    encoding: FisherEncoding
    coef: np.ndarray
    scale: float | None

    @cached_property
    def coefficients(self) -> np.ndarray:
        """The coefficients g of a Fisher vector f in the score g·f, float64 (C, 2·k·d)."""
        scale = 1.0 if self.encoding.pca.scale is None else self.encoding.pca.scale  # (p,) if whitened
        coef, components = self.coef / scale / (self.scale or 1.0), self.encoding.pca.components_
        # In blocks of columns: the components of fc6 take half a gigabyte in float32.
        blocks = (components[:, start : start + COLUMNS] for start in range(0, components.shape[1], COLUMNS))
        return np.concatenate([coef @ np.asarray(block, np.float64) for block in blocks], axis=1)

    @property
    def mean(self) -> np.ndarray:
        """g·m, where m is the mean vector of the PCA, float64 (C,). It is subtracted from the intercept."""
        return self.coefficients @ np.asarray(self.encoding.pca.mean_, np.float64)

    def contributions(self, maps, weights: np.ndarray | None = None) -> np.ndarray:
        """The contribution of every location to every score, float64 (b, n, C)."""
        return contributions(self.encoding.fisher, self.coefficients, maps, weights, floor=self.encoding.info.floor)


@dataclass(frozen=True)
class FisherHead:
    """A head with the scores offset + Σ g·f + input_coef·inputs. The sum is over the parts; f are the Fisher vectors.

    intercept: intercept of the regression on projections, (C,). input_coef: coefficients of the inputs, (C, q).
    """

    info: schema.Head
    parts: tuple[HeadPart, ...]
    intercept: np.ndarray
    input_coef: np.ndarray

    @classmethod
    def restored(
        cls, info: schema.Head, encodings: Mapping[str, FisherEncoding], tensors: dict[str, np.ndarray]
    ) -> FisherHead:
        """The head with the given tensors "coef" (C, p + q) and "intercept" (C,)."""
        coef, parts, start = np.asarray(tensors["coef"], np.float64), [], 0
        for part in info.parts:
            encoding = encodings[part.encoding]
            stop = start + len(encoding.pca.components_)
            parts.append(HeadPart(part.encoding, encoding, coef[:, start:stop], part.scale))
            start = stop
        expected = start + len(info.inputs)
        check(coef.shape[1] == expected, f"coef of head {info.name} must have {expected} columns, got {coef.shape[1]}")
        return cls(info, tuple(parts), np.asarray(tensors["intercept"], np.float64), coef[:, start:])

    @cached_property
    def offset(self) -> np.ndarray:
        """The scores if all Fisher vectors and inputs are zero, float64 (C,)."""
        return self.intercept - sum(part.mean for part in self.parts)

    def scores(self, vectors: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray] | None) -> np.ndarray:
        """The scores, float64 (b, C).

        They are computed in float64, so that they do not depend on the number of slices b. `ildfv encode` stores
        float32 projections, whose rounding errors depend on the number of slices of a scan.

        vectors: Fisher vectors (b, 2·k·d) by encoding. inputs: additional inputs (b,) by name. InputError: a needed
        input is not given.
        """
        found = sum(vectors[part.name].astype(np.float64) @ part.coefficients.T for part in self.parts) + self.offset
        return found + self.input_part(inputs, len(found))

    def input_part(self, inputs: Mapping[str, np.ndarray] | None, m: int) -> np.ndarray:
        """The part of the scores of m slices that comes from the additional inputs, float64 (m, C).

        Inputs that are not finite are replaced by the `fill` of the head. InputError: a needed input is not given.
        """
        if not self.info.inputs:
            return np.zeros((m, len(self.intercept)))
        missing = [name for name in self.info.inputs if name not in (inputs or {})]
        check(not missing, f"inputs of head {self.info.name} must be given, got none for {', '.join(missing[:3])}")
        assert inputs is not None
        values = np.stack([np.asarray(inputs[name], np.float64) for name in self.info.inputs], axis=1)  # (m, q)
        return np.where(np.isfinite(values), values, np.asarray(self.info.fill)) @ self.input_coef.T
