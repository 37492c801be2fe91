"""The texture classifier: a scikit-learn estimator with an encoder and a linear head, saved in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from ildfv.errors import InputError, check
from ildfv.estimators.labels import class_labels
from ildfv.store.models import load_model, part_of, prefixed, save_model
from ildfv.texture.choices import check_kind
from ildfv.texture.encoder import TextureEncoder
from ildfv.texture.heads import Head, fit_head
from ildfv.texture.images import as_pictures
from ildfv.version import __version__

KIND = "texture classifier"
INTENSITY = "intensity"  # the layer of "filters" that a head may ignore


class TextureClassifier(ClassifierMixin, BaseEstimator):
    """Classifier of images of any size that uses the Fisher vectors of their descriptors.

    Parameters
    ----------
    backbone, layers, scales, n_components, memory
        As for `TextureEncoder`.
    head : {"regression", "logistic", "svm", "auto"}
        Linear classifier on at most 512 principal components: ridge regression, logistic regression or a linear SVM.
        Its penalty and its layers, and for "auto" its kind, are chosen by cross-validation on the training images.
    random_state : int
        Seed of the encoder and of the inner cross-validation.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
    encoder_ : TextureEncoder
    head_ : Head

    Examples
    --------
    >>> model = TextureClassifier().fit(paths, labels, groups=patients)
    >>> model.predict(["new.png"])
    array(['gravel'], dtype='<U6')
    """

    def __init__(
        self,
        backbone: str = "auto",
        *,
        layers: Any = "auto",
        scales: Any = "auto",
        n_components: int = 32,
        head: str = "regression",
        random_state: int = 0,
        memory: str | None = None,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.scales = scales
        self.n_components = n_components
        self.head = head
        self.random_state = random_state
        self.memory = memory

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit the encoder and the head.

        Parameters
        ----------
        X : list of paths or arrays (h, w) or (h, w, 3), or array (b, h, w) or (b, h, w, 3)
            Images of any size.
        y : array-like of shape (b,)
            The class of each image.
        groups : array-like of shape (b,), optional
            Images of one group, such as one patient, are never on both sides of a split of the inner cross-validation.

        Returns
        -------
        self

        Raises
        ------
        InputError
            A setting is invalid, all images have the same class, labels are missing or of several types, lengths
            differ, or an image cannot be used. The message on an image names it.
        """
        check_kind(self.head)
        images, y = as_pictures(X), class_labels(y)
        check(len(images) == len(y), f"y must have {len(images)} labels, one per image, got {len(y)}")
        groups = None if groups is None else class_labels(groups, "groups")
        if groups is not None:
            check(groups.shape == y.shape, f"groups must have shape {y.shape}, got {groups.shape}")
        self.classes_, labels = np.unique(y, return_inverse=True)
        check(len(self.classes_) > 1, f"y must have at least 2 classes, got only {self.classes_[0]}")
        self.encoder_ = TextureEncoder(
            self.backbone,
            layers=self.layers,
            scales=self.scales,
            n_components=self.n_components,
            random_state=self.random_state,
            memory=self.memory,
        )
        vectors = self.encoder_.fit(images).transform(images)
        self.head_ = self._best_head(vectors, labels, groups)
        return self

    def _best_head(self, vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray | None) -> Head:
        """The head on the layers that are most accurate in the inner cross-validation.

        Compared are all layers, those of each part of the backbone, and all of these without intensity. Intensity is
        informative if it has a unit, as in CT, and misleading if the exposure varies. A network often describes
        photographs better, and filters CT patches. With equal accuracy, more layers are used. All sets of layers are
        compared with the kind of head that is then used; "auto" compares all combinations of layers and kinds.
        """
        best, highest = None, -1.0
        for kept in self._subsets():
            some = np.zeros_like(vectors)  # zero inputs give zero coefficients
            for layer in kept:
                columns = self.encoder_.columns(layer)
                some[:, columns] = vectors[:, columns]
            head = fit_head(some, labels, groups, kind=self.head, seed=self.random_state)
            if head.inner_accuracy is None:
                return head  # nothing can be held out: all layers are used
            if head.inner_accuracy > highest:
                best, highest = head, head.inner_accuracy
        assert best is not None
        return best

    def _subsets(self) -> list[tuple[str, ...]]:
        """The sets of layers that are compared, the largest first."""
        parts = self.encoder_.parts()
        found = [self.encoder_.layers_, *parts]
        found += [tuple(layer for layer in layers if layer != INTENSITY) for layers in found]
        return sorted({layers for layers in found if layers}, key=lambda layers: (-len(layers), layers))

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores of each class.

        Parameters
        ----------
        X : list of paths or arrays, as in `fit`

        Returns
        -------
        ndarray of shape (b, C), or (b,) for two classes
            The class with the highest score is predicted. For two classes, a positive score predicts the second class.
        """
        scores = self.scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def scores(self, X: Any) -> np.ndarray:
        """Scores of each class, (b, C), also for two classes."""
        self._check_fitted()
        return self.head_.scores(self.encoder_.transform(X))

    def predict(self, X: Any) -> np.ndarray:
        """The class of each image.

        Parameters
        ----------
        X : list of paths or arrays, as in `fit`

        Returns
        -------
        ndarray of shape (b,)
        """
        scores = self.scores(X)  # raises if the model is not fitted
        found: np.ndarray = self.classes_[scores.argmax(axis=1)]
        return found

    def save(self, folder: str | Path) -> None:
        """Write the model to a folder as model.safetensors and model.json.

        Parameters
        ----------
        folder : str or Path
            Created if it does not exist; an earlier model in it is replaced.

        Raises
        ------
        InputError
            A class is neither a string nor a number.
        """
        self._check_fitted()
        classes = self.classes_.tolist()
        plain = all(isinstance(one, str | int | float) for one in classes)
        check(plain, f"classes of a saved model must be strings or numbers, got {type(classes[0]).__name__}")
        head = self.head_
        tensors = prefixed("encoder", self.encoder_.to_tensors())
        tensors |= {f"head.{name}": getattr(head, name) for name in ("mean", "components", "coef", "intercept")}
        info = {
            "kind": KIND,
            "version": __version__,
            "classes": classes,
            "head": self.head,
            "random_state": self.random_state,
            "chosen": {"kind": head.kind, "penalty": head.penalty, "inner_accuracy": head.inner_accuracy},
            "encoder": self.encoder_.info(),
        }
        save_model(Path(folder), tensors, info)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The model that `save` wrote.

        Parameters
        ----------
        folder : str or Path

        Raises
        ------
        InputError
            The model is missing or corrupt, or it is not a texture classifier.
        """
        tensors, info = load_model(Path(folder))
        check(info.get("kind") == KIND, f"{folder} must be a {KIND}, got {info.get('kind') or info.get('estimator')}")
        try:
            encoder = TextureEncoder.from_tensors(part_of(tensors, "encoder"), info["encoder"])
            settings = {name: getattr(encoder, name) for name in ("layers", "scales", "n_components")}
            model = cls(encoder.backbone, head=info["head"], random_state=info["random_state"], **settings)
            model.classes_, model.encoder_ = np.asarray(info["classes"]), encoder
            mean, components, coef, intercept = (
                tensors[f"head.{name}"] for name in ("mean", "components", "coef", "intercept")
            )
            chosen = info["chosen"]
            last = chosen["kind"], chosen["penalty"], chosen["inner_accuracy"]
            model.head_ = Head(mean, components, coef, intercept, *last)
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder} must be a complete {KIND}, got {type(error).__name__}: {error}") from error
        return model

    def _check_fitted(self) -> None:
        if not hasattr(self, "head_"):
            raise NotFittedError("This TextureClassifier is not fitted yet: call fit first")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "head_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags
