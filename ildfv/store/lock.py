"""A lock that lets only one process at a time write to a folder. If the lock is held, the error names its holder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ildfv.errors import InputError
from ildfv.store.outputs import check_folder


@contextmanager
def writing(folder: Path, *, patience: float = 0.0) -> Iterator[Path]:
    """The folder, created if necessary and locked by this process until the block ends.

    patience: seconds to wait for the lock. Raises `InputError` if another process holds the lock, or the folder is not
    writable. If the block raises an exception before anything is written to a new folder, the folder is removed, with
    the folders above it that were created for it.
    """
    folder = Path(folder)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    holder = folder / ".holder"
    with ExitStack() as stack:
        check_folder(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock")
            lock.acquire(timeout=patience)
            stack.callback(lock.release)
            stack.callback(holder.unlink, missing_ok=True)
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        except Timeout:
            owner = holder.read_text(encoding="utf-8").strip() if holder.exists() else ""
            who = owner or "another process"
            raise InputError(f"{folder} is locked by {who}: wait until that process ends, or stop it") from None
        except OSError as error:
            raise InputError(f"{folder} must be writable, got {error.strerror or error}") from error
        try:
            yield folder
        except BaseException:
            if new:
                _remove_unused(new, holder, Path(lock.lock_file))
            raise


def _remove_unused(new: list[Path], holder: Path, lock: Path) -> None:
    """Removes new folders, deepest first, if the deepest contains only the files of the lock.

    This process must hold the lock.
    """
    folder = new[0]
    if set(folder.iterdir()) <= {holder, lock}:
        for path in (holder, lock):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty, because another process has written to it
            for path in new:
                path.rmdir()
