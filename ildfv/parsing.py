"""Input files parsed within limits: regular files only, bounded size, bounded nesting, one-line errors."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import tomllib
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any

from ildfv.errors import InputError, check

MAX_TOML_BYTES = 4 << 20  # for settings and code tables; files written by hand have a few kilobytes
MAX_JSON_BYTES = 1 << 30  # a manifest of 10,000 parts has 2 MB, an experiment with its curves 20 MB
MAX_CSV_BYTES = 256 << 20  # a row of a label file has about 100 bytes
DELIMITERS = ",;\t"  # the first is used if a file has only one column
SEPARATOR_LINE = re.compile(rf"\s*sep=([{DELIMITERS}])\r?\n", re.IGNORECASE)
FILE_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> BufferedReader:
    """The file, opened for reading in binary mode. Opening never blocks.

    Raises
    ------
    InputError
        `path` is a named pipe, a socket, a device or a folder: reading one could block forever or never end.
    OSError
        As raised by `open`.
    """

    def opened(name: str, flags: int) -> int:
        handle = os.open(name, flags | os.O_NONBLOCK)
        try:
            check_kind(path, os.fstat(handle).st_mode)
        except BaseException:
            os.close(handle)
            raise
        return handle

    # `open`, unlike `os.fdopen`, gives the file object its path as name, which pydicom uses in its messages.
    return open(os.fspath(path), "rb", opener=opened)


def check_regular(path: Path) -> None:
    """Raises `InputError` unless `path` is a regular file, or a link to one; `OSError` if it does not exist."""
    check_kind(path, os.stat(path).st_mode)


def check_kind(path: Path, mode: int) -> None:
    """Raises `InputError` unless the `st_mode` of `path` is that of a regular file."""
    kind = FILE_TYPES.get(stat.S_IFMT(mode), "a special file")
    check(stat.S_ISREG(mode), f"{path} must be a regular file, got {kind}")


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises `InputError` if it is larger or not regular."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    check(len(data) <= most, f"{path} must have at most {most:,} bytes, got more")
    return data


def read_csv(path: Path, rule: str = "must be CSV in UTF-8") -> tuple[str, list[tuple[int, list[str]]]]:
    """The delimiter of a CSV file, and the line number and cells of each row that is not blank.

    The delimiter is the one that divides the first row into most cells: a comma, a tab, or a semicolon, as written by
    spreadsheets in countries with a decimal comma. A first line "sep=;", as read by Excel, states the delimiter and is
    not a row. Rows with line breaks in quoted cells have the number of their last line.

    Raises
    ------
    InputError
        Not a regular file, larger than `MAX_CSV_BYTES`, or not CSV in UTF-8. The message contains `rule` and, if a line
        violates it, the number of this line.
    OSError
        The file cannot be read.
    """
    data = read_bytes(path, MAX_CSV_BYTES)
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    check(not utf16, f"{path} {rule}, got UTF-16: save it as CSV UTF-8")
    if (at := data.find(b"\0")) >= 0:
        raise InputError(f"{path} {rule}, got a NUL byte in line {_line_at(data, at)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _line_at(data, error.start)
        raise InputError(f"{path} {rule}, got bytes that are not UTF-8 in line {line}: save it as CSV UTF-8") from error
    stated = SEPARATOR_LINE.match(text)
    delimiter = stated[1] if stated else max(DELIMITERS, key=lambda one: _cells_of_first_row(text, one))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return delimiter, [(reader.line_num, row) for row in reader if row][1 if stated else 0 :]
    except csv.Error as error:
        raise InputError(f"{path} {rule}, got an error in line {reader.line_num}: {error}") from error


def _cells_of_first_row(text: str, delimiter: str) -> int:
    """The number of cells of the first row that is not blank; 0 if it is not CSV with this delimiter."""
    try:
        return len(next((row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row), []))
    except csv.Error:
        return 0


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def read_toml(path: Path, rule: str = "must be TOML") -> dict[str, Any]:
    """The content of a TOML file, with or without a byte order mark.

    Raises
    ------
    InputError
        Not a regular file, larger than `MAX_TOML_BYTES`, not UTF-8, not TOML, or nested too deeply.
    OSError
        The file cannot be read.
    """
    try:
        return tomllib.loads(read_bytes(path, MAX_TOML_BYTES).decode("utf-8-sig"))
    except RecursionError:
        raise InputError(f"{path} {rule}: tables and lists are nested too deeply") from None
    except InputError:
        raise
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, or an integer of thousands of digits
        raise InputError(f"{path} {rule}: {error}") from error


def parse_json(text: str | bytes, name: object, object_pairs_hook: Callable | None = None) -> Any:
    """The content of a JSON text; InputError, naming the file `name`, if it is not JSON or is nested too deeply."""
    try:
        return json.loads(text, object_pairs_hook=object_pairs_hook)
    except RecursionError:
        raise InputError(f"{name} must be JSON: lists and objects are nested too deeply") from None
    except InputError:
        raise
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, or an integer of thousands of digits
        raise InputError(f"{name} must be JSON: {error}") from error
