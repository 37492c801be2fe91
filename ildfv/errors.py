"""Errors that are the caller's to mend: one line each, naming what, the rule and the value."""

from collections.abc import Callable
from math import inf
from numbers import Integral, Real

from ildfv.visible import visible


class InputError(ValueError):
    """A user's mistake or a file that breaks a rule. The CLI prints its message alone, without a traceback.

    Messages hold names and values from files: control characters and line breaks in them are shown as escapes.
    """

    def __init__(self, message: object = ""):
        super().__init__(visible(str(message)))


class MissingPackageError(ImportError):
    """A part of ildfv needs a package that is not installed; the message names the command that installs it."""


class OutOfReachError(InputError):
    """A remote store did not answer: what lies there may be in order."""


class LostRankError(RuntimeError):
    """Another rank of a torchrun launch has ended; torchrun stops this one, and starts all again where it may."""


def check(holds: bool, message: str) -> None:
    """Nothing if `holds`, else `InputError(message)`."""
    if not holds:
        raise InputError(message)


def check_integer(value, name: str, least: float = -inf) -> int:
    """`value`, a whole number of at least `least`, as int; InputError otherwise, for True and 2.0 too."""
    check(isinstance(value, Integral) and not isinstance(value, bool), f"{name} must be a whole number, got {value!r}")
    check(value >= least, f"{name} must be at least {least}, got {value}")
    return int(value)


def check_number(value, name: str, rule: str, holds: Callable[[float], bool], *, infinite: bool = False) -> float:
    """`value`, a real number for which `holds` is true, as float; InputError naming `rule` otherwise."""
    check(isinstance(value, Real) and not isinstance(value, bool), f"{name} must be a number, got {value!r}")
    check(bool(holds(value)), f"{name} must be {rule}, got {value}")
    check(infinite or value < inf, f"{name} must be finite, got {value}")
    return float(value)


def require(module: str, *, purpose: str, install: str):
    """The imported `module`, or `MissingPackageError` saying what needs it and how to install it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(f"{purpose} needs {module}: {install}") from error
