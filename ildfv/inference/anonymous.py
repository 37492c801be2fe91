"""Messages without the names of files and folders, which often contain the name or ID of a patient."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ildfv.errors import InputError, MissingPackageError, explained

SHORTEST = 3  # characters; shorter names are not replaced, because they occur in ordinary words


@contextmanager
def errors_of(source: Path, folder: Path, *, keep_identity: bool) -> Iterator[None]:
    """A context in which errors in reading a scan are raised as an `InputError` that names the source of the scan.

    Without `keep_identity`, the names of all files in the source are removed from the message. folder: the folder with
    the unpacked files of `source`.
    """
    missing = None
    try:
        yield
    except (InputError, MissingPackageError) as error:
        reason = explained(error)
    except OSError as error:
        reason, missing = f"{error.filename or source} must be readable, got {error.strerror or error}", error.filename
    else:
        return
    reason = reason.replace(str(folder), str(source))
    reason = reason if str(source) in reason else f"{source}: {reason}"
    raise InputError(reason if keep_identity else without_names(reason, folder, source, missing=missing))


def without_names(text: str, *folders: Path, missing: str | None = None) -> str:
    """The text with the names of all files and folders below `folders` replaced by "…".

    The names of `folders` themselves are kept, because the user gave them and needs them to find the scan. Longer names
    are replaced first, because a name may be a part of another. missing: a file that may no longer exist.
    """
    names: set[str] = set()
    for folder in folders:
        if missing is not None and Path(missing).is_relative_to(folder):
            names.update(Path(missing).relative_to(folder).parts)
    for folder in folders:
        for _, inner, files in os.walk(folder):
            names.update(inner, files)
    names = {name for name in names if len(name) >= SHORTEST}
    if not names:
        return text
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w]){either}(?![\w])".replace(either, f"(?:{either})"), "…", text)
