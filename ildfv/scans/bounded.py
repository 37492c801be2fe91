"""Files with bounded reads, for parsers that allocate whatever length a header declares."""

from __future__ import annotations

import os
from io import BufferedReader
from pathlib import Path

from ildfv.parsing import open_regular

SMALL = 1 << 20  # bytes; shorter reads are not compared with the size of the file


class BoundedReader(BufferedReader):
    """A binary file whose `read` never allocates more than the bytes left in the file."""

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, fewer at the end of the file."""
        if size is not None and size > SMALL:
            left = os.fstat(self.fileno()).st_size - self.tell()
            size = max(0, min(size, left))
        return super().read(size)


def open_bounded(path: Path) -> BoundedReader:
    """The file, open for reading bytes. Raises the errors of `open_regular`."""
    return BoundedReader(open_regular(path).detach())
