"""The names of systems that are regressions on encodings, and the folders of their models.

A name consists of the layers of the encodings and of every choice that is not the default, so that systems with
different choices have different results: fv-LAYERS[-REGION][-HEAD][-BAGS][-TARGET][-density-off][-penalty-NUMBER], such
as fv-conv1, fv-filters+patches-lung-ridge, fv-filters-logistic-max or fv-conv1-ridge-counts-density-off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ildfv.estimators.bags import NOISY_OR
from ildfv.pipeline.choices import AUTO, DEFAULT_TARGET, LINEAR, OFF

CNN_PREFIX = "cnn-"  # prefix of the names of systems that are the outputs of a network
FOLDER = "regression"  # folder of a regression with default choices, and prefix of the names of all others


@dataclass(frozen=True)
class Choices:
    """The options of `regress` that distinguish the systems on the same encodings.

    head: "linear", "ridge" or "logistic". target: None is the default of the head. bags: with labels of scans, how
    slice scores are pooled. density: "off" if densities are never inputs; the linear head has none in any case.
    penalty: "auto", or the ridge penalty of the linear head.
    """

    head: str = LINEAR
    target: str | None = None
    bags: str | None = None
    density: str = AUTO
    penalty: str = AUTO

    @classmethod
    def recorded(cls, regress: Mapping[str, Any]) -> Choices:
        """The choices in the metadata of a regression, under "regress"."""
        head, penalty = regress.get("head", LINEAR), str(regress.get("ridge_asked", AUTO))
        return cls(head, regress["target"], regress.get("bags"), regress.get("density", AUTO), penalty)

    @property
    def suffix(self) -> str:
        """The part of names that states the choices; empty for the defaults."""
        bags = [self.bags] if self.bags not in (None, NOISY_OR) else []
        head = [self.head] if self.head != LINEAR else []
        return "".join(f"-{part}" for part in (*head, *bags, *self._further))

    @property
    def label(self) -> str:
        """The head and its choices as in the name of the system, such as "linear" or "ridge-density-off"."""
        return self.suffix.removeprefix("-") if self.head != LINEAR else f"{LINEAR}{self.suffix}"

    @property
    def _further(self) -> list[str]:
        parts = [
            self.target if self.target not in (None, DEFAULT_TARGET[self.head]) else None,
            f"density-{OFF}" if self.density == OFF and self.head != LINEAR else None,
            f"penalty-{_number(float(self.penalty))}" if self.penalty != AUTO else None,
        ]
        return [part for part in parts if part]

    @property
    def options(self) -> str:
        """The options of `ildfv regress` that are not the defaults, each after a space."""
        given = {
            "head": self.head if self.head != LINEAR else None,
            "target": self.target if self.target != DEFAULT_TARGET[self.head] else None,
            "bags": self.bags,
            "density": self.density if self.density == OFF and self.head != LINEAR else None,
            "ridge": self.penalty if self.penalty != AUTO else None,
        }
        return "".join(f" --{name} {value}" for name, value in given.items() if value is not None)


def _number(value: float) -> str:
    """The shortest text of a number that is read back exactly, such as 1000 or 0.5."""
    return repr(value).removesuffix(".0")


def system_name(model: Path) -> str:
    """The name of the system whose regression is in this folder, see `regression_folder`."""
    return f"fv-{model.parent.parent.name}{model.name.removeprefix(FOLDER)}"


def regression_folder(home: Path, choices: Choices) -> Path:
    """The folder of the regression of a system.

    home: the folder of its encoding, or of its joined encodings (`Workspace.encoding_dir`).
    """
    return home / f"{FOLDER}{choices.suffix}"
