"""The names of systems that are regressions on encodings, and the folders of their models.

A name consists of the layers of the encodings and of every choice that is not the default (slice, linear, noisy-or):
fv-LAYERS[-REGION][-HEAD][-BAGS], such as fv-conv1, fv-filters+patches-lung-ridge or fv-filters-logistic-max.
"""

from __future__ import annotations

from pathlib import Path

from ildfv.estimators.bags import NOISY_OR
from ildfv.pipeline.choices import LINEAR


def system_name(home: Path, head: str, bags: str | None = None) -> str:
    """The name of a system. home: the folder of its encoding, or of its joined encodings (`Workspace.encoding_dir`).

    head: "linear", "ridge" or "logistic". bags: with labels of scans, how slice scores are pooled.
    """
    return f"fv-{home.parent.name}{_suffix(head, bags)}"


def regression_folder(home: Path, head: str, bags: str | None = None) -> Path:
    """The folder of the model of a system. The parameters are those of `system_name`."""
    return home / f"regression{_suffix(head, bags)}"


def _suffix(head: str, bags: str | None) -> str:
    return ("" if head == LINEAR else f"-{head}") + ("" if bags in (None, NOISY_OR) else f"-{bags}")
