"""Remote folders that are read through fsspec, given by a URL: s3://bucket/study/slices, gs://…, memory://…

Each protocol needs its own package (s3fs for s3://, gcsfs for gs://). URL chains of fsspec also work:
simplecache::s3://… keeps a local copy of every part that was read.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO
from zipfile import BadZipFile

from ildfv.errors import InputError, OutOfReachError


class RemotePath:
    """The methods of `pathlib.Path` that are needed to read a folder of parts."""

    def __init__(self, files, path: str, url: str):
        self.files, self.path, self.url = files, path.rstrip("/"), url.rstrip("/")

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.files, f"{self.path}/{name}", f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    def exists(self) -> bool:
        """Whether the file exists. Raises `InputError` for a damaged archive, and its subclass `OutOfReachError` if the
        store does not respond.
        """
        try:
            with self._reached():
                self.files.info(self.path)
        except FileNotFoundError:
            return False
        return True

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The file, read on demand. Raises `FileNotFoundError`, and the errors of `exists`."""
        with self._reached():
            return RemoteFile(self.files.open(self.path, mode), self._reached)  # type: ignore[return-value]

    def read_bytes(self) -> bytes:
        """The content of the file; raises as `open` does."""
        with self._reached():
            return self.files.cat_file(self.path)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Translates errors of the store, except FileNotFoundError, to InputError (damage) or OutOfReachError."""
        try:
            yield
        except FileNotFoundError as error:
            # The HTTP file system also raises FileNotFoundError if the server does not respond, with another cause.
            if isinstance(error.__cause__, FileNotFoundError | KeyError | None):
                raise
            raise OutOfReachError(f"{self.url} must be reachable, got {_format_error(error.__cause__)}") from error
        except (BadZipFile, zlib.error) as error:
            raise InputError(f"{self.url} must be intact, got {_format_error(error)}") from error
        except Exception as error:  # each store has its own error classes
            raise OutOfReachError(f"{self.url} must be reachable, got {_format_error(error)}") from error


class RemoteFile(io.RawIOBase):
    """A remote file for reading. `reached` translates its errors, as for `RemotePath`."""

    def __init__(self, file, reached: Callable[[], AbstractContextManager]):
        self.file, self.reached = file, reached

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        with self.reached():
            return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer) -> int:
        with self.reached():
            data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self.file.close()
        super().close()


def _format_error(error: BaseException) -> str:
    """The class and message of an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def is_url(folder: Path | str) -> bool:
    """Whether the folder is given as a URL."""
    return "://" in str(folder) or "::" in str(folder)


def absolute(folder: str) -> str:
    """The folder as a URL or absolute path; the last element of an fsspec URL chain may be a local path."""
    first, chained, last = folder.rpartition("::")
    return first + chained + (last if "://" in last else str(Path(last).resolve()))


def place(folder: Path | str) -> Path:
    """The folder as a `Path`, or a `RemotePath` for a URL. Raises `InputError` for a URL that fsspec cannot read."""
    if isinstance(folder, (Path, RemotePath)):  # a local path may contain "::"
        return folder  # type: ignore[return-value]
    if not is_url(folder):
        return Path(folder)
    import fsspec

    url = str(folder)
    try:
        files, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # unknown protocol, missing package, damaged archive: no common class
        raise InputError(f"{url} must be a URL that fsspec can read: {_format_error(error)}") from error
    return RemotePath(files, path, url)  # type: ignore[return-value]
