"""Required values of DICOM headers; a missing value is an `InputError` with the name of the tag."""

from __future__ import annotations

from ildfv.errors import InputError


def required(dataset, name: str):
    """The value of a tag. Raises `InputError` if it is missing or empty."""
    value = dataset.get(name)
    if value is None or value == "":
        raise InputError(f"{name} must be present, got none")
    return value


def numbers(dataset, name: str, n: int) -> tuple:
    """The n finite numbers of a tag. Raises `InputError` if the value is missing, or is not n finite numbers."""
    values = tuple(float(value) for value in required(dataset, name))
    if len(values) != n or not all(abs(value) < float("inf") for value in values):
        raise InputError(f"{name} must be {n} finite numbers, got {values}")
    return values


def joined(value) -> str:
    """The text of a tag; several values are separated by backslashes, as in the file. "" for none."""
    if value is None:
        return ""
    return (value if isinstance(value, str) else "\\".join(map(str, value))).strip()


def functional_group(group, shared, name: str):
    """The functional group with this name, of the frame or shared. Raises `InputError` if there is none."""
    sequence = group.get(name) or shared.get(name)
    if not sequence:
        raise InputError(f"{name} must be present per frame or shared, got none")
    return sequence[0]
