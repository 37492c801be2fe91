"""The numbers printed in the paper: those of `paper.toml`, or of a copy completed by the user."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ildfv.errors import InputError, check, check_integer, check_number
from ildfv.parsing import read_toml
from ildfv.patterns import PATTERNS

NAME = "the paper"
NOTE = (
    "– in a row of the paper: the number is not available. To add it, fill in a copy of "
    "ildfv/experiments/paper.toml and pass it as --paper FILE."
)
LABEL_SETS = ("accuracy", "precision", "recall", "F", "micro F", "macro F", "mean AUC")
COLUMNS = {  # numbers allowed in a row of each experiment: the columns of its tables
    "statistics": ("slices", "patients"),
    "losses": LABEL_SETS,
    "layers": (*(f"{measure} {p}" for measure in ("AUC", "F") for p in PATTERNS), "mean AUC", "macro F"),
    "size": ("F", "macro F", "mean AUC"),
    "balance": (*LABEL_SETS, *(f"F {p}" for p in PATTERNS)),
    "speed": ("F", "macro F", "mean AUC", "ms a slice"),
}
TEXTS, QUOTED = ("source", "known"), "quoted"
APART = (*TEXTS, QUOTED)  # tables of the file that do not belong to an experiment
DETAILS = ("device", "from")  # text entries of a row: the device of a time, the source of the numbers


@dataclass(frozen=True)
class Paper:
    """Numbers by experiment, row and column."""

    values: Mapping

    @classmethod
    def load(cls, path: Path | None = None) -> Paper:
        """The numbers of the file at `path`, or of the shipped file if None.

        A copy may be partial: entries that it omits keep their shipped values. InputError: the file is not TOML, or
        an entry has an unknown name or a value of the wrong type.
        """
        shipped = (files("ildfv.experiments") / "paper.toml").read_text(encoding="utf-8")
        if path is None:
            return cls(tomllib.loads(shipped))
        try:
            values = read_toml(Path(path), "must be TOML, a copy of ildfv/experiments/paper.toml")
        except OSError as error:
            raise InputError(f"{path} must be a readable file: {error.strerror}") from error
        known = tomllib.loads(shipped)
        for table, rows in values.items():
            _check(f"{path} table", table, known)
            check(isinstance(rows, dict), f"{path} {table} must be a table, [{table}], got {rows!r}")
            if table in TEXTS:
                _texts(path, table, rows, known[table])
            elif table == QUOTED:
                for experiment, told in rows.items():
                    _check(f"{path} table of quoted", experiment, COLUMNS)
                    check(isinstance(told, dict), f"{path} quoted.{experiment} must be a table, got {told!r}")
                    for label, row in told.items():
                        _row(path, f"quoted.{experiment}", label, row, COLUMNS[experiment], quoted=True)
            else:
                for label, row in rows.items():
                    _check(f"{path} row of {table}", label, known[table])
                    _row(path, table, label, row, COLUMNS[table])
        return cls(_merged(known, values))

    @property
    def data(self) -> str:
        return self.values["source"]["data"]

    def row(self, experiment: str, label: str, columns: Sequence[str]) -> list | None:
        """The numbers of the row `label`, None for those that are unknown; None if the paper has no such row."""
        row = self.values.get(experiment, {}).get(label)
        return None if row is None else [row.get(column) for column in columns]

    def detail(self, experiment: str, label: str, word: str) -> str | None:
        """The row's text entry of that name, one of DETAILS; None if there is none."""
        return self.values.get(experiment, {}).get(label, {}).get(word)

    def provenance(self, experiment: str, labels: Collection[str]) -> str:
        """A sentence with the source of each of these rows whose source is recorded."""
        rows = {**self.values.get(experiment, {}), **self.values[QUOTED].get(experiment, {})}
        found = ((label, rows[label]["from"]) for label in labels if "from" in rows.get(label, {}))
        return " ".join(f"The paper's row “{label}” is from {source}." for label, source in found)

    def quoted(self, experiment: str, columns: Sequence[str]) -> list[list]:
        """[label, source, data, *numbers] of the paper's further results for these columns."""
        rows = self.values["quoted"].get(experiment, {})
        return [
            [label, NAME, row["data"], *(row.get(column) for column in columns)]
            for label, row in rows.items()
            if any(column in row for column in columns)
        ]


def _check(what: str, name: str, known: Collection[str]) -> None:
    """InputError if the name is unknown: its number would silently be ignored."""
    check(name in known, f'{what} must be one of {"; ".join(known)}, got "{name}"')


def _row(path: Path, table: str, label: str, row: object, columns: Collection[str], *, quoted: bool = False) -> None:
    """InputError unless the row has valid numbers in known columns, text in text entries and, if quoted, its data."""
    where = f'[{table}."{label}"]'
    check(isinstance(row, dict), f"{path} row of {table} must be written {where}, got {label} = {row!r}")
    assert isinstance(row, dict)
    check("data" in row or not quoted, f"{path} {where} must name the data of its numbers as data, got {row!r}")
    words = (*DETAILS, "data") if quoted else DETAILS
    for column, value in row.items():
        if column in words:
            _text(path, where, column, value)
            continue
        _check(f"{path} column of {where}", column, columns)
        what = f"{path} {where} {column}"
        if column in ("slices", "patients"):
            check_integer(value, what, 0)
        elif column == "ms a slice":
            check_number(value, what, "at least 0", lambda number: number >= 0)
        else:
            check_number(value, what, "from 0 to 1", lambda number: 0 <= number <= 1)


def _texts(path: Path, table: str, entries: Mapping, known: Mapping) -> None:
    """InputError unless all names are known and values have the type of the shipped ones: whole number or text."""
    for name, value in entries.items():
        _check(f"{path} name of [{table}]", name, [*known, *(f"{one}_from" for one in known)])
        if isinstance(known.get(name), int):
            check_integer(value, f"{path} [{table}] {name}", 1)
        else:
            _text(path, f"[{table}]", name, value)


def _text(path: Path, where: str, name: str, value: object) -> None:
    fits = isinstance(value, str) and value.strip() != "" and "\n" not in value
    check(fits, f"{path} {where} {name} must be one line of text, got {value!r}")


def _merged(shipped: Mapping, mine: Mapping) -> dict:
    """The shipped tables updated with `mine`; text entries that describe a replaced value are dropped with it."""
    changed = {name for name in mine if not isinstance(mine[name], Mapping) and shipped.get(name) != mine[name]}
    changed -= set(DETAILS)
    stale = {f"{name}_from" for name in changed}.union(DETAILS if changed else ())
    shipped = {name: value for name, value in shipped.items() if name not in stale}
    both = {
        name: _merged(shipped[name], value) if isinstance(value, Mapping) and name in shipped else value
        for name, value in mine.items()
    }
    return {**shipped, **both}
