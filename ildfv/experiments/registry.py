"""The experiments by name, in the order of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from ildfv.errors import InputError
from ildfv.experiments.experiment import Experiment


def experiments() -> dict[str, Experiment]:
    """All experiments by name. Each is a module with a constant EXPERIMENT that is listed here."""
    from ildfv.experiments import (
        balance,
        curves,
        examples,
        growth,
        layers,
        localisation,
        losses,
        networks,
        size,
        speed,
        statistics,
        sweep,
        transfer,
        unordered,
    )

    printed = (statistics, losses, layers, size, balance, speed, curves, examples)
    others = (growth, sweep, transfer, localisation, networks, unordered)
    return {module.EXPERIMENT.name: module.EXPERIMENT for module in (*printed, *others)}


def chosen(names: Sequence[str]) -> list[Experiment]:
    """The experiments of these names; "all" selects all experiments. InputError: a name is unknown."""
    known = experiments()
    for name in names:
        if name not in (*known, "all"):
            raise InputError(f'experiment must be one of {", ".join(known)} or all, got "{name}"')
    return [known[name] for name in (known if "all" in names else dict.fromkeys(names))]
