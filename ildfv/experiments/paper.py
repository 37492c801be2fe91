"""The paper's numbers, as far as they are known: `paper.toml`, or a copy of it that somebody filled in."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ildfv.errors import InputError, check
from ildfv.patterns import PATTERNS

NAME = "the paper"
NOTE = (
    "– in a row of the paper: its number was not at hand. Whoever has the paper fills a copy of "
    "ildfv/experiments/paper.toml and gives it as --paper FILE."
)
LABEL_SETS = ("accuracy", "precision", "recall", "F", "micro F", "macro F", "mean AUC")
COLUMNS = {  # what a row of each experiment may hold: the columns of its tables
    "statistics": ("slices", "patients"),
    "losses": LABEL_SETS,
    "layers": (*(f"{measure} {p}" for measure in ("AUC", "F") for p in PATTERNS), "mean AUC", "macro F"),
    "size": ("F", "macro F", "mean AUC"),
    "balance": (*LABEL_SETS, *(f"F {p}" for p in PATTERNS)),
    "speed": ("F", "macro F", "mean AUC", "ms a slice"),
}
APART = ("source", "known", "quoted")  # tables of the file that are no experiment's


@dataclass(frozen=True)
class Paper:
    """Numbers by experiment, row and column."""

    values: Mapping

    @classmethod
    def load(cls, path: Path | None = None) -> Paper:
        """The file at `path`; None: the one shipped. InputError: not TOML, an unknown name, no number."""
        shipped = (files("ildfv.experiments") / "paper.toml").read_text(encoding="utf-8")
        if path is None:
            return cls(tomllib.loads(shipped))
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path} must be TOML, a copy of ildfv/experiments/paper.toml: {error}") from error
        known = tomllib.loads(shipped)
        for experiment, rows in values.items():
            _check(f"{path} table", experiment, known)
            for label, row in rows.items() if experiment not in APART else ():
                where = f"{path} row of {experiment}"
                _check(where, label, known[experiment])
                check(isinstance(row, dict), f'{where} must be written [{experiment}."{label}"], got {label} = {row!r}')
                for column, number in row.items():
                    _check(f'{path} column of [{experiment}."{label}"]', column, COLUMNS[experiment])
                    fits = isinstance(number, int | float) and not isinstance(number, bool)
                    check(fits, f'{path} [{experiment}."{label}"] {column} must be a number, got {number!r}')
        return cls({**known, **values})

    @property
    def data(self) -> str:
        return self.values["source"]["data"]

    def row(self, experiment: str, label: str, columns: Sequence[str]) -> list | None:
        """The numbers of the row `label`, None where one is not known; None if the paper has no such row."""
        row = self.values.get(experiment, {}).get(label)
        return None if row is None else [row.get(column) for column in columns]

    def quoted(self, experiment: str, columns: Sequence[str]) -> list[list]:
        """[label, source, data, *numbers] of what the paper tells of these columns beside rows of ours."""
        rows = self.values["quoted"].get(experiment, {})
        return [
            [label, NAME, row["data"], *(row.get(column) for column in columns)]
            for label, row in rows.items()
            if any(column in row for column in columns)
        ]


def _check(what: str, name: str, known: Collection[str]) -> None:
    """Nothing if the name is known; else InputError: it would be a – that nobody explains."""
    check(name in known, f'{what} must be one of {"; ".join(known)}, got "{name}"')
