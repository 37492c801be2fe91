"""Tables of text and estimates, which are stored in documents and shown in reports."""

from __future__ import annotations

from dataclasses import dataclass

from ildfv.evaluation.documents import Document, Interval


class Estimate(Document):
    """A measure pooled over the held-out folds, with its 95 % interval.

    mean, sd: mean and standard deviation over the n folds where the measure is defined. patients: number of patients
    that the measure depends on; None in documents of earlier versions.
    """

    value: float | None
    interval: Interval | None
    mean: float | None
    sd: float | None
    n: int
    patients: int | None = None


Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns. note: a paragraph that is shown with the table."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""

    def is_text(self, column: int) -> bool:
        """Whether a column contains text, which a report aligns to the left."""
        return any(isinstance(row[column], str) for row in self.rows)
