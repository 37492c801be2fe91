"""Errors that are the caller's to mend: one line each, naming what, the rule and the value."""


class InputError(ValueError):
    """A user's mistake or a file that breaks a rule. The CLI prints its message alone, without a traceback."""


class MissingPackageError(ImportError):
    """A part of ildfv needs a package that is not installed; the message names the command that installs it."""


def check(holds: bool, message: str) -> None:
    """Nothing if `holds`, else `InputError(message)`."""
    if not holds:
        raise InputError(message)


def require(module: str, *, purpose: str, install: str):
    """The imported `module`, or `MissingPackageError` saying what needs it and how to install it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(f"{purpose} needs {module}: {install}") from error
