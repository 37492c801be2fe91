"""Folders that lie elsewhere, for reading: s3://bucket/study/slices, gs://…, memory://…, whatever fsspec knows.

Each protocol needs its own package (s3fs for s3://, gcsfs for gs://). fsspec's chains work too: simplecache::s3://…
keeps a local copy of every part that was read.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

from ildfv.errors import InputError


class RemotePath:
    """As much of `pathlib.Path` as reading a folder of parts takes."""

    def __init__(self, files, path: str, url: str):
        self.files, self.path, self.url = files, path.rstrip("/"), url.rstrip("/")

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.files, f"{self.path}/{name}", f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    def exists(self) -> bool:
        return self.files.exists(self.path)

    def open(self, mode: str = "rb") -> IO[bytes]:
        return self.files.open(self.path, mode)

    def read_text(self, encoding: str = "utf-8") -> str:
        with self.open() as file:
            return file.read().decode(encoding)


def is_url(folder: Path | str) -> bool:
    """Whether this names a folder by URL."""
    return "://" in str(folder) or "::" in str(folder)


def place(folder: Path | str) -> Path:
    """The folder as a `Path`, or, for a URL, as a `RemotePath` that stands in for one."""
    if isinstance(folder, RemotePath):
        return folder  # type: ignore[return-value]
    if not is_url(folder):
        return Path(folder)
    import fsspec

    url = str(folder)
    try:
        files, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # a protocol whose package is not installed, or that no one knows
        raise InputError(f"{url} must be a URL that fsspec can read: {error}") from error
    return RemotePath(files, path, url)  # type: ignore[return-value]
