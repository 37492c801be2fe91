"""The types of an experiment and of its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ildfv.evaluation.tables import Table
from ildfv.experiments.context import Context
from ildfv.experiments.recipes import System
from ildfv.report.chart import Chart


@dataclass(frozen=True)
class Findings:
    """The result of one experiment.

    tables: in the order in which they are shown. systems: the systems whose results are part of the document. compared:
    pairs of systems for paired tests. notes: sentences on the whole experiment. files: content by name of files that
    are written to the folder of the document. folds: the held-out folds, if no system is listed; None: the folds of
    the preset. charts: shown below the tables.
    """

    tables: Sequence[Table]
    systems: Sequence[System] = ()
    compared: Sequence[tuple[System, System]] = ()
    notes: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    folds: Sequence[int] | None = None
    charts: Sequence[Chart] = ()


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    name: as given on the command line. paper: the tables, figures or section of the paper that it refers to, or None.
    """

    name: str
    title: str
    paper: str | None
    run: Callable[[Context], Findings] = field(repr=False)
