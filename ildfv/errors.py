"""Errors that the caller can correct: one line each with name, rule and value."""

import importlib
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from numbers import Integral, Real
from typing import Any

from ildfv.extras import extra_of, install_command, is_installed

FAQ = "docs/faq.md#faq-"  # followed by the anchor of an explanation that is too long for one line
UPDATE = "update ildfv"  # end of the message for a file that a newer version wrote
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # Unicode categories that are invisible; spaces (Zs) are kept


def printable(text: str) -> str:
    """The text with control characters, invisible characters and undecodable bytes replaced by backslash escapes.

    File names and DICOM tags may contain terminal escape sequences, line breaks and bidirectional marks, which would
    change what a message appears to say. Every message for users passes through this function.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_page(page: str) -> str:
    """The text of an HTML page, escaped like `printable`, but with its line breaks, tabs and spaces of any width.

    Every rendered page passes through this function, so that no value in a page remains unescaped.
    """
    hidden = {c for c in set(page) if unicodedata.category(c) in HIDDEN and c not in "\n\t"}
    return page.translate({ord(c): c.encode("unicode_escape").decode() for c in hidden})


class InputError(ValueError):
    """An invalid argument or input file. The CLI prints only the message, without a traceback.

    faq: the anchor of the explanation in docs/faq.md, for the few errors that one line cannot explain.
    """

    def __init__(self, message: object = "", faq: str = "") -> None:
        super().__init__(printable(str(message)))
        self.faq = faq


class MissingPackageError(ImportError):
    """A required package is not installed; the message contains the command that installs it."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class OutOfReachError(InputError):
    """A remote store did not respond; its files may be intact."""


class NewerVersionError(InputError):
    """A newer version of ildfv wrote the file, which must not be replaced."""


class LostRankError(RuntimeError):
    """Another rank of a torchrun launch has exited. torchrun also stops this rank, and may then restart all ranks."""


def linked(message: str, faq: str) -> str:
    """The message followed by the address of its FAQ entry. A message that already contains one is unchanged."""
    return message if FAQ in message else f"{message}. See {FAQ}{faq}"


def explained(error: BaseException) -> str:
    """The message of an error with the address of its FAQ entry, or of the entry of its cause if it has none itself."""
    current: BaseException | None = error
    while current is not None:
        if faq := getattr(current, "faq", ""):
            return linked(str(error), faq)
        current = current.__cause__
    return str(error)


def check(holds: bool, message: str, faq: str = "") -> None:
    """Raises `InputError(message, faq)` unless `holds`."""
    if not holds:
        raise InputError(message, faq)


def check_integer(value: Any, name: str, least: float = -inf) -> int:
    """`value` as int. Raises `InputError` unless it is an integer of at least `least`; True and 2.0 are refused."""
    check(isinstance(value, Integral) and not isinstance(value, bool), f"{name} must be an integer, got {value!r}")
    check(value >= least, f"{name} must be at least {least}, got {value}")
    return int(value)


def check_number(value: Any, name: str, rule: str, holds: Callable[[float], bool], *, infinite: bool = False) -> float:
    """`value` as float. Raises `InputError` unless it is a finite number for which `holds` returns True.

    rule: the condition of `holds` in words, for the message. infinite: whether infinity is accepted as well.
    """
    check(isinstance(value, Real) and not isinstance(value, bool), f"{name} must be a number, got {value!r}")
    check(bool(holds(value)), f"{name} must be {rule}, got {value}")
    check(infinite or value < inf, f"{name} must be finite, got {value}")
    return float(value)


def check_version(found: Any, current: int, name: str, older: str, faq: str = "") -> None:
    """Raises `InputError` unless `found`, the version of a file or document, is the current version.

    name: the file or document. older: the end of the message for an older or missing version, after "got <version>".
    NewerVersionError: `found` is newer; the remedy is to update ildfv.
    """
    message = f"{name} must have version {current}, got {found!r}"
    if isinstance(found, int) and found > current:
        raise NewerVersionError(f"{message}, which a newer version of ildfv wrote: {UPDATE}", faq)
    check(found == current, f"{message}{older}", faq)


def require(module: str, *, purpose: str, install: str | None = None) -> Any:
    """The imported `module`.

    Parameters
    ----------
    module : str
        The name of a module that is not part of a plain installation.
    purpose : str
        What the module is required for, in the singular or plural, such as "Grad-CAM maps".
    install : str, optional
        The command that installs the module; by default the one that installs the extra with this module or, if no
        extra has it, the module itself.

    Raises
    ------
    MissingPackageError
        If the module cannot be imported. The message names the extra or, if there is none or `install` is given, the
        module. If the package is installed but its import fails, the message contains the error of that import.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing_package(module, purpose, install, error) from error


@contextmanager
def naming_missing_extra(purpose: str) -> Iterator[None]:
    """Context manager: an import that fails because an extra is not installed raises `MissingPackageError`.

    The message names the extra and the purpose, as in `require`. All other import errors, including those inside
    installed packages, are unchanged.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = error.name or ""
        if extra_of(module) is None or is_installed(module):
            raise
        raise _missing_package(module, purpose, None, error) from error


def _missing_package(module: str, purpose: str, install: str | None, error: ImportError) -> MissingPackageError:
    extra = extra_of(module)
    command = install or (install_command(extra) if extra else f"pip install {module}")
    not_found = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
    if not not_found:
        return MissingPackageError(f"{module} cannot be imported for {purpose}: {error}. To install it: {command}")
    what = f"the extra [{extra}]" if extra and not install else module
    package = f" ({module.partition('.')[0]} is not installed)" if extra and not install else ""
    return MissingPackageError(f"{what} is required for {purpose}: {command}{package}")
