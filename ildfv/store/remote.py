"""Folders that lie elsewhere, for reading: s3://bucket/study/slices, gs://…, memory://…, whatever fsspec knows.

Each protocol needs its own package (s3fs for s3://, gcsfs for gs://). fsspec's chains work too: simplecache::s3://…
keeps a local copy of every part that was read.
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
    """As much of `pathlib.Path` as reading a folder of parts takes."""

    def __init__(self, files, path: str, url: str):
        self.files, self.path, self.url = files, path.rstrip("/"), url.rstrip("/")

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.files, f"{self.path}/{name}", f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    def exists(self) -> bool:
        """Whether the store has it; OutOfReachError where the store does not answer."""
        try:
            with self._reached():
                self.files.info(self.path)
        except FileNotFoundError:
            return False
        return True

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The file, read as it is asked for; errors as above."""
        with self._reached():
            return RemoteFile(self.files.open(self.path, mode), self._reached)  # type: ignore[return-value]

    def read_bytes(self) -> bytes:
        """The whole file; errors as above."""
        with self._reached():
            return self.files.cat_file(self.path)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """FileNotFoundError where the store says that there is no such file, OutOfReachError where it says nothing."""
        try:
            yield
        except FileNotFoundError as error:
            # fsspec's HTTP says so of servers too that do not answer: what it heard is the cause.
            if isinstance(error.__cause__, FileNotFoundError | KeyError | None):
                raise
            raise OutOfReachError(f"{self.url} must be within reach, got {_said(error.__cause__)}") from error
        except (BadZipFile, zlib.error) as error:
            raise InputError(f"{self.url} must be intact, got {_said(error)}") from error
        except Exception as error:  # every store has errors of its own
            raise OutOfReachError(f"{self.url} must be within reach, got {_said(error)}") from error


class RemoteFile(io.RawIOBase):
    """A file of a store for reading, whose errors are those of its `RemotePath`, whenever they come."""

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


def _said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def is_url(folder: Path | str) -> bool:
    """Whether this names a folder by URL."""
    return "://" in str(folder) or "::" in str(folder)


def absolute(folder: str) -> str:
    """The same place named so that it is found from any folder; what a URL chain ends in may be a path of this disk."""
    first, chained, last = folder.rpartition("::")
    return first + chained + (last if "://" in last else str(Path(last).resolve()))


def place(folder: Path | str) -> Path:
    """The folder as a `Path`, or, for a URL, as a `RemotePath` that stands in for one."""
    if isinstance(folder, (Path, RemotePath)):  # a path may hold "::", and is no URL for it
        return folder  # type: ignore[return-value]
    if not is_url(folder):
        return Path(folder)
    import fsspec

    url = str(folder)
    try:
        files, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # no such protocol, its package not installed, a broken archive: each has its own
        raise InputError(f"{url} must be a URL that fsspec can read: {_said(error)}") from error
    return RemotePath(files, path, url)  # type: ignore[return-value]
