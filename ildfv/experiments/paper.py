"""The paper's numbers, as far as they are known: `paper.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

NAME = "the paper"
NOTE = "– in a row of the paper: its number is not available here."


@cache
def paper() -> dict:
    return tomllib.loads((files("ildfv.experiments") / "paper.toml").read_text(encoding="utf-8"))


def data_name() -> str:
    return paper()["source"]["data"]


def paper_row(experiment: str, label: str, columns: Sequence[str]) -> list | None:
    """The paper's numbers for the row `label`, None where one is not known; None if the paper has no such row."""
    row = paper().get(experiment, {}).get(label)
    return None if row is None else [row.get(column) for column in columns]


def quoted_rows(experiment: str, columns: Sequence[str]) -> list[list]:
    """[label, source, data, *numbers] of what the paper tells of these columns beside rows of ours."""
    rows = paper()["quoted"].get(experiment, {})
    return [
        [label, NAME, row["data"], *(row.get(column) for column in columns)]
        for label, row in rows.items()
        if any(column in row for column in columns)
    ]
