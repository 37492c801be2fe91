"""One writer to a folder: a second one leaves at once and says who holds it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ildfv.errors import InputError


@contextmanager
def writing(folder: Path, *, patience: float = 0.0) -> Iterator[Path]:
    """The folder, made if need be, held by this process alone until the block ends.

    patience: seconds to wait for a process that writes a file or two and leaves. Raises `InputError` where another one
    holds it (naming that process) or the folder cannot be written.
    """
    folder = Path(folder)
    holder = folder / ".holder"
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock")
            lock.acquire(timeout=patience)
            stack.callback(lock.release)
            stack.callback(holder.unlink, missing_ok=True)
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        except Timeout:
            said = holder.read_text(encoding="utf-8").strip() if holder.exists() else ""
            who = said or "another process"
            raise InputError(f"{folder} is being written by {who}: wait for it to end, or end it") from None
        except OSError as error:
            raise InputError(f"{folder} must be writable: {error.strerror or error}") from error
        yield folder
