"""Accuracy of the classifier under a protocol. Encoder and head are fitted on the training images of each split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.base import clone

from ildfv.progress import SILENT, Progress
from ildfv.texture.backbones import resolved
from ildfv.texture.classifier import TextureClassifier
from ildfv.texture.collection import Collection, survey
from ildfv.texture.encoder import settings_of
from ildfv.texture.splits import Protocol


@dataclass(frozen=True)
class Evaluation:
    """Results of all splits.

    confusion[i][j]: number of images of class i that were classified as class j, over all splits. misclassified: one
    entry per image and split. duplicates: paths of images with equal pixels, and the number of splits that have some of
    them in both the training and the test images.
    """

    accuracies: list[float]
    classes: list[str]
    confusion: np.ndarray
    misclassified: list[dict]
    duplicates: list[dict]
    heads: list[str]
    protocol: str
    settings: dict
    last: Any = field(repr=False)  # the model of the last split, and the indices of its test images
    test: np.ndarray = field(repr=False)

    def to_dict(self) -> dict:
        """The results as JSON values; `accuracy.pooled` is the share of correct classifications over all splits."""
        values, total = np.asarray(self.accuracies), int(self.confusion.sum())
        sd = float(values.std(ddof=1)) if len(values) > 1 else None
        return {
            "accuracy": {
                "mean": float(values.mean()),
                "sd": sd,
                "pooled": float(np.trace(self.confusion) / total),
                "splits": [float(v) for v in values],
            },
            "protocol": self.protocol,
            "classes": self.classes,
            "confusion": self.confusion.tolist(),
            "misclassified": self.misclassified,
            "duplicates": self.duplicates,
            "heads": self.heads,
            "settings": self.settings,
        }


def evaluate(
    collection: Collection,
    model: TextureClassifier,
    protocol: Protocol,
    *,
    named: Callable[[Any], str] = str,
    progress: Progress = SILENT,
) -> Evaluation:
    """Fit a clone of `model` on the training images of each split and classify the test images. named: path → name."""
    splits = protocol.splits(collection)
    labels, paths = np.asarray(collection.labels), collection.paths
    groups = None if collection.groups is None else np.asarray(collection.groups)
    seen = survey(paths)
    duplicates = [_duplicate(indices, splits, labels, paths, named) for indices in seen.duplicates()]
    backbone = resolved(model.backbone, seen.smallest)  # the same in all splits, also for small test images
    classes = collection.classes
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    accuracies, misclassified, heads, fitted, test = [], [], [], None, np.empty(0, int)
    with (
        progress.task("Evaluating splits", len(splits)) as advance,
        TemporaryDirectory(prefix="ildfv-maps-") as folder,
    ):
        for number, (train, test) in enumerate(splits):
            own = None if groups is None else groups[train]
            fitted = clone(model).set_params(backbone=backbone, memory=model.memory or folder)
            fitted.fit([paths[i] for i in train], labels[train], own)
            predicted = fitted.predict([paths[i] for i in test])
            fitted.memory = fitted.encoder_.memory = model.memory  # the temporary folder is removed
            accuracies.append(float((predicted == labels[test]).mean()))
            heads.append(fitted.head_.kind)
            np.add.at(confusion, (np.searchsorted(classes, labels[test]), np.searchsorted(classes, predicted)), 1)
            misclassified += [
                {"path": named(paths[i]), "truth": str(labels[i]), "predicted": str(found), "split": number}
                for i, found in zip(test, predicted, strict=True)
                if found != labels[i]
            ]
            advance()
    return Evaluation(
        accuracies, classes, confusion, misclassified, duplicates, heads, protocol.describe(),
        {} if fitted is None else _recipe(fitted), fitted, test,
    )  # fmt: skip


def _recipe(fitted: TextureClassifier) -> dict:
    """The settings of the classifier of the last split, with the choices that "auto" made for its descriptors."""
    encoder = fitted.encoder_
    chosen = {"backbone": encoder.backbone_, "layers": list(encoder.layers_), "scales": encoder.scales_}
    return settings_of(fitted) | chosen


def _duplicate(indices: list[int], splits: list, labels: np.ndarray, paths, named) -> dict:
    """Paths and classes of equal images, and the number of splits that have some in both training and test images."""
    across = sum(bool(set(indices) & set(train)) and bool(set(indices) & set(test)) for train, test in splits)
    classes = sorted({str(labels[i]) for i in indices})
    return {"paths": [named(paths[i]) for i in indices], "classes": classes, "splits_with_both_sides": across}
