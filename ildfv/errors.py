"""Errors that the user can correct; each message is one line with the name, the rule, the value and a remedy."""

from collections.abc import Callable
from math import inf
from numbers import Integral, Real


class InputError(ValueError):
    """Invalid input: an argument or a file. The CLI prints the message without a traceback."""


class MissingPackageError(ImportError):
    """A required package is not installed; the message has the command that installs it."""


class OutOfReachError(InputError):
    """A remote store did not answer; its files may be intact."""


class LostRankError(RuntimeError):
    """Another rank of a torchrun launch has ended. torchrun stops this one too and restarts all ranks if configured."""


def check(holds: bool, message: str) -> None:
    """Raises InputError(message) unless `holds`."""
    if not holds:
        raise InputError(message)


def check_integer(value, name: str, least: float = -inf) -> int:
    """`value` as int. InputError: not an integer (bool and 2.0 are not), or smaller than `least`."""
    check(isinstance(value, Integral) and not isinstance(value, bool), f"{name} must be a whole number, got {value!r}")
    check(value >= least, f"{name} must be at least {least}, got {value}")
    return int(value)


def check_number(value, name: str, rule: str, holds: Callable[[float], bool], *, infinite: bool = False) -> float:
    """`value` as float. InputError: not a real number, or `holds` is false; the message states `rule`."""
    check(isinstance(value, Real) and not isinstance(value, bool), f"{name} must be a number, got {value!r}")
    check(bool(holds(value)), f"{name} must be {rule}, got {value}")
    check(infinite or value < inf, f"{name} must be finite, got {value}")
    return float(value)


def require(module: str, *, purpose: str, install: str):
    """The imported `module`. MissingPackageError: not installed; the message states purpose and install command."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(f"{purpose} needs {module}: {install}") from error
