"""The types of the JSON documents of experiments. `schema` describes their files."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from ildfv.evaluation.documents import Comparison, Document, Results, Spread
from ildfv.evaluation.tables import Table
from ildfv.report.chart import Chart

EXPERIMENT: Final = "ildfv experiment"
CHECKLIST: Final = "ildfv checklist"


class SystemResults(Document):
    """The results of one system of an experiment.

    folder: name of its folders in experiments/<key>/{models, encodings, scores}/. inputs: everything that the scores
    depend on, except slices and folds. pooled: results over all held-out folds, without curves.
    """

    folder: str
    threshold: int
    folds: list[int]
    inputs: dict[str, Any]
    pooled: Results
    spread: Spread


class ExperimentDocument(Document):
    """The results of one experiment.

    paper: the tables, figures or section of the paper that it refers to, or None. extent: the settings of its preset.
    key: key of the slices and folds. folds: the held-out folds. documents: results with curves, only in the experiment
    that plots them. charts: charts for the page. seconds: wall time of all runs; 0 only until the document is written.
    """

    current_version: ClassVar[int | None] = 2
    older: ClassVar[str] = (
        ", which defines the overall F and the intervals differently: delete it and run the experiment again"
    )

    kind: Literal["ildfv experiment"]
    version: Literal[2]
    name: str
    title: str
    paper: str | None
    preset: str
    extent: dict[str, Any] = Field(default_factory=dict)
    data: Literal["phantom", "user"]
    slices: str
    key: str
    folds: list[int]
    n_folds: int
    tables: list[Table]
    systems: dict[str, SystemResults]
    comparisons: list[Comparison]
    notes: list[str]
    files: list[str]
    versions: dict[str, str]
    documents: list[Results] = Field(default_factory=list)
    charts: list[Chart] = Field(default_factory=list)
    seconds: float = 0.0

    @property
    def subtitle(self) -> str:
        """The text after the title in a report."""
        folds = f"held-out folds {', '.join(map(str, self.folds))} of {self.n_folds}" if self.folds else None
        return " · ".join(filter(None, (self.paper, f"preset {self.preset}", folds)))


class ChecklistDocument(Document):
    """A reporting checklist as a table."""

    kind: Literal["ildfv checklist"]
    title: str
    paper: None = None
    preset: None = None
    folds: list[int] = Field(default_factory=list)
    tables: list[Table]
    charts: list[Chart] = Field(default_factory=list)
    notes: list[str]

    @property
    def subtitle(self) -> str:
        """Empty, because a checklist has no folds or preset; see `ExperimentDocument.subtitle`."""
        return ""
