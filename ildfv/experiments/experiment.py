"""The definition of an experiment, and the type of its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ildfv.evaluation.tables import Table
from ildfv.experiments.context import Context
from ildfv.experiments.recipes import System


@dataclass(frozen=True)
class Findings:
    """The result of one experiment.

    tables: the tables, in the order in which they are shown. systems: the systems whose results the document lists.
    compared: pairs of systems for the paired tests. notes: remarks on the whole experiment. files: name → content of
    files written next to the document. folds: the folds held out if no system is listed; None: those of the preset.
    """

    tables: Sequence[Table]
    systems: Sequence[System] = ()
    compared: Sequence[tuple[System, System]] = ()
    notes: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    folds: Sequence[int] | None = None


@dataclass(frozen=True)
class Experiment:
    """An experiment by name.

    paper: the tables or figures of the paper that it reproduces; None if the paper has no table or figure for it.
    """

    name: str
    title: str
    paper: str | None
    run: Callable[[Context], Findings] = field(repr=False)
