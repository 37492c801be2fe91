"""The experiments by name, in the order of the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ildfv.errors import InputError
from ildfv.evaluation.tables import Table
from ildfv.experiments.context import Lab
from ildfv.experiments.systems import System


@dataclass(frozen=True)
class Findings:
    """What an experiment found. compared: pairs of systems to test against each other.

    folds: those held out, where no system says; None: as the preset holds them out.
    """

    tables: Sequence[Table]
    systems: Sequence[System] = ()
    compared: Sequence[tuple[System, System]] = ()
    notes: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)  # name → content, to lie beside the document
    folds: Sequence[int] | None = None


@dataclass(frozen=True)
class Experiment:
    """paper: which tables or figures of the paper it answers; None for what the paper only names."""

    name: str
    title: str
    paper: str | None
    run: Callable[[Lab], Findings] = field(repr=False)


def experiments() -> dict[str, Experiment]:
    """All of them; a new one is a file with an EXPERIMENT and its name here."""
    from ildfv.experiments import (
        balance,
        curves,
        examples,
        layers,
        losses,
        networks,
        size,
        speed,
        statistics,
        unordered,
    )

    modules = (statistics, losses, layers, size, balance, speed, curves, examples, networks, unordered)
    return {module.EXPERIMENT.name: module.EXPERIMENT for module in modules}


def chosen(names: Sequence[str]) -> list[Experiment]:
    """The experiments named, "all" standing for every one."""
    known = experiments()
    for name in names:
        if name not in (*known, "all"):
            raise InputError(f'experiment must be one of {", ".join(known)} or all, got "{name}"')
    return [known[name] for name in (known if "all" in names else dict.fromkeys(names))]
