"""Fisher vectors of CNN activations: moments, mixtures, encodings and regressions, fitted out of core.

`from ildfv import GaussianMixture, FisherVector, PCA, MultivariateRegression, moments` needs neither torch nor a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ildfv.estimators.bag_of_words import BagOfWords
    from ildfv.estimators.fisher import FisherVector
    from ildfv.estimators.mixture import GaussianMixture
    from ildfv.estimators.pca import PCA
    from ildfv.estimators.pooling import Pooling
    from ildfv.estimators.pyramid import SpatialPyramid
    from ildfv.estimators.regression import MultivariateRegression
    from ildfv.estimators.union import LayerUnion
    from ildfv.estimators.vlad import VLAD
    from ildfv.kernels import Moments, moments
    from ildfv.version import __version__

__all__ = [
    "PCA",
    "VLAD",
    "BagOfWords",
    "FisherVector",
    "GaussianMixture",
    "LayerUnion",
    "Moments",
    "MultivariateRegression",
    "Pooling",
    "SpatialPyramid",
    "__version__",
    "moments",
]

_MODULE_OF = {
    "BagOfWords": "ildfv.estimators.bag_of_words",
    "FisherVector": "ildfv.estimators.fisher",
    "GaussianMixture": "ildfv.estimators.mixture",
    "PCA": "ildfv.estimators.pca",
    "LayerUnion": "ildfv.estimators.union",
    "Pooling": "ildfv.estimators.pooling",
    "SpatialPyramid": "ildfv.estimators.pyramid",
    "VLAD": "ildfv.estimators.vlad",
    "MultivariateRegression": "ildfv.estimators.regression",
    "Moments": "ildfv.kernels",
    "moments": "ildfv.kernels",
    "__version__": "ildfv.version",
}


def __getattr__(name: str) -> Any:
    # Names are imported on first use, so that `ildfv --help` does not wait for scikit-learn.
    from ildfv.lazy import imported

    return imported(__name__, _MODULE_OF, name)


def __dir__() -> list[str]:
    return sorted(__all__)
