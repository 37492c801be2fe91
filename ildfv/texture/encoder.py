"""Encoder of images: descriptors → decorrelation by PCA → mixture → one Fisher vector per image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from ildfv.errors import InputError, check, check_integer
from ildfv.estimators.fisher import FisherVector
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.pca import PCA
from ildfv.store.models import part_of
from ildfv.texture.backbones import backbone_of, layers_of, parts_of, resolved
from ildfv.texture.features import Maps, Range, maps_of, range_and_sides, rows_of, scales_of
from ildfv.texture.images import Picture, as_picture, as_pictures
from ildfv.texture.memory import remembered

SAMPLE = 100_000  # number of descriptors per layer on which the decorrelation and the mixture are fitted
FEWEST = 200  # minimum number of these descriptors per component
WIDEST = 64  # maximum number of dimensions after PCA: a diagonal mixture needs few, decorrelated dimensions
PASSES = 20  # maximum number of EM passes


class TextureEncoder(TransformerMixin, BaseEstimator):
    """Unsupervised encoder: images of any size → Fisher vectors, which have one part per layer.

    Parameters
    ----------
    backbone : str
        "filters", "efficientnet-lite0", "timm:NAME" or "torchvision:NAME", or several joined by "+". "auto" is
        "filters+efficientnet-lite0" if the weights of this network are installed and no image of `fit` has fewer than
        32 pixels along a side, otherwise "filters".
    layers : str or list of str
        Layers of the backbone, or "auto".
    scales : "auto" or tuple of float
        Factors by which images are resized; the descriptors of all scales form one set per layer. "auto" is (1, 0.5)
        for filters. For networks it is (1.4, 1, 0.5), or (2, 1, 0.5) if the median of the smaller sides of the training
        images is below 128 pixels.
    n_components : int
        Components of each layer's mixture.
    random_state : int
        Seed of the sample of descriptors and of the mixtures.
    memory : str or None
        Folder in which the maps of images are stored and found again, also by other encoders. It takes a few MB per
        image. None: maps are computed when they are needed.

    Attributes
    ----------
    backbone_ : str
        The backbone, which "auto" selects by the installed packages.
    layers_ : tuple of str
    scales_ : dict of str to tuple of float
        The scales of each part of the backbone.
    range_ : Range
        The intensities that are mapped to 0 and 1, determined from the images of `fit`.
    decorrelations_ : dict of str to PCA
    fisher_ : dict of str to FisherVector
    """

    decorrelations_: dict[str, PCA]
    fisher_: dict[str, FisherVector]

    def __init__(
        self,
        backbone: str = "auto",
        *,
        layers: Any = "auto",
        scales: Any = "auto",
        n_components: int = 32,
        random_state: int = 0,
        memory: str | None = None,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.scales = scales
        self.n_components = n_components
        self.random_state = random_state
        self.memory = memory

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit a PCA and a mixture for each layer on a sample of descriptors of all images.

        Parameters
        ----------
        X : list of paths or arrays (h, w) or (h, w, 3), or array (b, h, w) or (b, h, w, 3)
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        InputError
            A setting is invalid, only some images are 8-bit, there are fewer descriptors than components, or an image
            cannot be used. The message on an image names it.
        """
        check_integer(self.n_components, "n_components", 1)
        items = as_pictures(X)
        scales_of(self.scales, backbone_of("filters"), [1])  # settings are checked before images are read
        if self.backbone != "auto":
            layers_of(backbone_of(self.backbone), self.layers)
        self.range_, sides = range_and_sides(_pictures(items))
        self.backbone_ = resolved(self.backbone, min(sides))
        backbone = backbone_of(self.backbone_)
        self.layers_, self.scales_ = layers_of(backbone, self.layers), scales_of(self.scales, backbone, sides)
        each = max(20, -(-max(SAMPLE, FEWEST * self.n_components) // len(items)))
        rng = np.random.default_rng(self.random_state)
        samples: dict[str, list[np.ndarray]] = {layer: [] for layer in self.layers_}
        for picture in _pictures(items):
            for layer, maps in self._maps(picture).items():
                rows = rows_of(maps)
                chosen = np.sort(rng.choice(len(rows), min(each, len(rows)), replace=False))
                samples[layer].append(rows[chosen])
        self.decorrelations_, self.fisher_ = {}, {}
        for layer in self.layers_:
            self._fit_layer(layer, np.concatenate(samples.pop(layer)))
        return self

    def _fit_layer(self, layer: str, rows: np.ndarray) -> None:
        k = self.n_components
        rule = f"n_components must be at most {len(rows)}, the number of descriptors of layer {layer}"
        check(len(rows) >= k, f"{rule}, got {k}")
        decorrelation = PCA(min(WIDEST, *rows.shape)).fit(rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # more passes hardly change the vectors
            warnings.filterwarnings("ignore", message=".*have no variance above variance_floor")
            mixture = GaussianMixture(k, max_iter=PASSES, tol=1e-3, random_state=self.random_state)
            mixture.fit(decorrelation.transform(rows))
        self.decorrelations_[layer], self.fisher_[layer] = decorrelation, FisherVector(mixture)

    def transform(self, X: Any) -> np.ndarray:
        """The vector of each image.

        Parameters
        ----------
        X : list of paths or arrays (h, w) or (h, w, 3), or array (b, h, w) or (b, h, w, 3)

        Returns
        -------
        ndarray of shape (b, m), float32
            Each vector has unit norm.

        Raises
        ------
        InputError
            An image cannot be used. The message names the image.
        """
        return np.stack([self.vector(picture) for picture in _pictures(as_pictures(X))])

    def vector(self, picture: Picture) -> np.ndarray:
        """The vector (m,) of one image."""
        parts = [
            self.fisher_[layer].transform([self.decorrelations_[layer].transform(rows_of(maps))])[0]
            for layer, maps in self._maps(picture).items()
        ]
        return np.concatenate(parts) / np.float32(len(parts) ** 0.5)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the outputs, such as "derivatives_u_3_17".

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (m,), object
        """
        self._check_fitted()
        names = [[f"{layer}_{name}" for name in self.fisher_[layer].get_feature_names_out()] for layer in self.layers_]
        return np.concatenate(names).astype(object)

    def columns(self, layer: str) -> slice:
        """The columns of the vector that contain the part of a layer."""
        self._check_fitted()
        lengths = [len(self.fisher_[one].get_feature_names_out()) for one in self.layers_]
        start = sum(lengths[: self.layers_.index(layer)])
        return slice(start, start + lengths[self.layers_.index(layer)])

    def _maps(self, picture: Picture) -> Maps:
        """Maps at each scale by layer, as returned by `maps_of`."""
        self._check_fitted(partly=True)
        recipe = self.backbone_, self.layers_, self.scales_

        def compute() -> Maps:
            return maps_of(picture, self.range_.of(picture), backbone_of(recipe[0]), *recipe[1:])

        return remembered(self.memory, picture, self.range_, *recipe, compute)

    def parts(self) -> list[tuple[str, ...]]:
        """The fitted layers of each part of the backbone."""
        parts = [part.layers for part in parts_of(backbone_of(self.backbone_))]
        own = [tuple(layer for layer in self.layers_ if layer in layers) for layers in parts]
        return [layers for layers in own if layers]

    def _check_fitted(self, *, partly: bool = False) -> None:
        if not hasattr(self, "range_" if partly else "fisher_"):
            raise NotFittedError("This TextureEncoder is not fitted yet: call fit first")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fisher_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

    # -- persistence -----------------------------------------------------------------------------------------------

    def to_tensors(self) -> dict[str, np.ndarray]:
        """The learned arrays by name."""
        self._check_fitted()
        return {
            f"{i}.{part}.{name}": value
            for i, layer in enumerate(self.layers_)
            for part, estimator in (("pca", self.decorrelations_[layer]), ("fisher", self.fisher_[layer]))
            for name, value in estimator.to_tensors().items()
        }

    def info(self) -> dict[str, Any]:
        """Settings and learned numbers as JSON values."""
        self._check_fitted()
        settings = settings_of(self)
        parts = [{"pca": self.decorrelations_[one].info(), "fisher": self.fisher_[one].info()} for one in self.layers_]
        span = [self.range_.low, self.range_.high]
        learned = {
            "backbone": self.backbone_,
            "layers": list(self.layers_),
            "scales": self.scales_,
            "range": span,
        }
        return {"settings": settings, **learned, "parts": parts}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], info: dict[str, Any]) -> Self:
        """The encoder, restored from the results of `to_tensors` and `info`."""
        try:
            settings: dict[str, Any] = {
                name: tuple(v) if isinstance(v, list) else v for name, v in info["settings"].items()
            }
            encoder = cls(**settings)
            encoder.layers_, encoder.range_ = tuple(info["layers"]), Range(*info["range"])
            # Models of earlier versions have neither of these: their settings contain the values.
            encoder.backbone_ = info.get("backbone", encoder.backbone)
            scales = info.get("scales", {encoder.backbone_: encoder.scales})
            encoder.scales_ = {part: tuple(factors) for part, factors in scales.items()}
            encoder.decorrelations_, encoder.fisher_ = {}, {}
            for i, (layer, part) in enumerate(zip(info["layers"], info["parts"], strict=True)):
                pca, fisher = (part_of(tensors, f"{i}.{name}") for name in ("pca", "fisher"))
                encoder.decorrelations_[layer] = PCA.from_tensors(pca, part["pca"])
                encoder.fisher_[layer] = FisherVector.from_tensors(fisher, part["fisher"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"model must be a saved TextureEncoder, got {type(error).__name__}: {error}") from error
        return encoder


def settings_of(estimator: Any) -> dict[str, Any]:
    """The settings of an encoder or a classifier as JSON values, without the folder of maps."""
    params = {name: value for name, value in estimator.get_params().items() if name != "memory"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in params.items()}


def _pictures(items: list[Any]) -> Iterator[Picture]:
    """The images, read one at a time, so that memory does not grow with their number."""
    return (as_picture(one, f"images[{i}]") for i, one in enumerate(items))
