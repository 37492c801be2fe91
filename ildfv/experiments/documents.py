"""The JSON documents of experiments as types; `schema` describes the files that they are written to."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from ildfv.evaluation.documents import Comparison, Document, Results, Spread
from ildfv.evaluation.tables import Table

EXPERIMENT: Final = "ildfv experiment"
CHECKLIST: Final = "ildfv checklist"


class SystemResults(Document):
    """One system of an experiment. folder: its name below experiments/<key>/{models, encodings, scores}/.

    inputs: everything that its scores depend on apart from slices and folds. pooled: without curves.
    """

    folder: str
    threshold: int
    folds: list[int]
    inputs: dict[str, Any]
    pooled: Results
    spread: Spread


class ExperimentDocument(Document):
    """The results of one experiment.

    paper: the tables or figures of the paper that it reproduces. extent: the settings of its preset. key: of the slices
    and folds. folds: those held out in turn. documents: results with curves, of the experiment that plots them.
    seconds: wall time of all runs; missing only while the document is being made.
    """

    current_version: ClassVar[int | None] = 2
    older: ClassVar[str] = "it has another overall F and other intervals; remove it and run the experiment again"

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
    seconds: float = 0.0

    @property
    def subtitle(self) -> str:
        """The text next to the title in a report."""
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
    notes: list[str]

    @property
    def subtitle(self) -> str:
        """Empty, because a checklist has no folds or preset; see `ExperimentDocument.subtitle`."""
        return ""
