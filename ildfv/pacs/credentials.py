"""Credentials for a DICOMweb server, from the environment or a file.

They are not command-line options, because other users of the machine could see these.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from ildfv.errors import InputError, check

USER, PASSWORD, TOKEN, FILE = (
    "ILDFV_PACS_USER",
    "ILDFV_PACS_PASSWORD",
    "ILDFV_PACS_TOKEN",
    "ILDFV_PACS_CREDENTIALS",
)
KEYS = {"user": USER, "password": PASSWORD, "token": TOKEN}  # in the file, and as environment variables
MAX_BYTES = 1 << 16  # maximum number of bytes read from the file


@dataclass(frozen=True)
class Credentials:
    """A user with a password, or a bearer token, or neither. The repr contains no values."""

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def credentials() -> Credentials:
    """The credentials in the environment, or in the TOML file that ILDFV_PACS_CREDENTIALS names.

    Raises
    ------
    InputError
        The file cannot be read or is invalid, or the values are incomplete or contradictory. The message contains no
        values.
    """
    values = {name: os.environ.get(variable, "") for name, variable in KEYS.items()}
    if path := os.environ.get(FILE):
        others = " and ".join(variable for name, variable in KEYS.items() if values[name])
        rule = f"{FILE} must be the only credentials in the environment"
        check(not others, f"{rule}, got {others} as well: unset {FILE}, or unset {others}")
        values = _from_file(Path(path))
    found = Credentials(**values)
    check(not (found.token and found.user), "credentials must be a token, or a user and a password, got both")
    check(bool(found.user) == bool(found.password), "credentials must have both a user and a password, got only one")
    return found


def _from_file(path: Path) -> dict[str, str]:
    rule = f"{FILE} must name a TOML file with user and password, or token"
    try:
        with path.open("rb") as file:
            content = tomllib.loads(file.read(MAX_BYTES).decode())
    except OSError as error:
        raise InputError(f"{rule}, got {path}: {error.strerror}") from error
    except ValueError:  # its message may quote a line of the file
        raise InputError(f"{rule}, got other content in {path}") from None
    check(bool(content) and set(content) <= set(KEYS), f"{rule}, got other keys in {path}")
    check(all(isinstance(value, str) for value in content.values()), f"{rule} as strings, got other values in {path}")
    return content
