"""The fitted models of encodings and heads in the form in which a predictor stores them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ildfv.pipeline.descriptors import FOLDER as DESCRIPTORS
from ildfv.pipeline.encodings import Encoding
from ildfv.store.models import has_model, load_info, load_model, prefixed

ESTIMATORS = ("mixture", "pca")  # the models of an encoding


def name_of(encoding: Encoding) -> str:
    """The name of an encoding, which is that of its layer and region, such as "conv1-lung"."""
    return encoding.folder.parent.name


def tensors_of(name: str, encoding: Encoding) -> dict[str, np.ndarray]:
    """The tensors of the models of an encoding, under their names in a predictor."""
    found: dict[str, np.ndarray] = {}
    for part in (*ESTIMATORS, DESCRIPTORS):
        if has_model(encoding.folder / part):
            found |= prefixed(f"encoding.{name}.{part}", load_model(encoding.folder / part)[0])
    return found


def estimators_of(encoding: Encoding) -> dict[str, dict[str, Any]]:
    """The descriptions from which the mixture and the PCA of an encoding are restored."""
    infos = {part: load_info(encoding.folder / part) for part in ESTIMATORS}
    return {part: {key: one[key] for key in ("estimator", "settings", "learned")} for part, one in infos.items()}
