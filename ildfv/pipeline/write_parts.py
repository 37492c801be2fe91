"""Writes arrays of all slices in parts. Every rank computes and writes its parts; rank 0 lists all in a manifest."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np

from ildfv import distributed
from ildfv.progress import Progress
from ildfv.store.parts import Row, write_part, writing_parts
from ildfv.streaming.threads import in_order

Made = Generator[dict[str, np.ndarray], None, None]
WRITERS = 2  # number of parts written concurrently, because each fsync takes milliseconds


def write_parts(folder: Path, slices, make: Callable[[Sequence[int]], Made], *, label: str, progress: Progress) -> None:
    """Writes the missing parts of `folder`. They have the names and the order of the parts of the slices.

    make: function that yields the arrays of each of the given parts, in order. It may prefetch; finished parts are
    written and hashed at the same time. If the process is killed, all parts except those of the last seconds are in the
    manifest, and the next run computes the remaining parts.
    """
    with writing_parts(folder, slices.key) if distributed.is_main() else nullcontext() as parts:
        here = {} if parts is None else parts.rows
        missing = [part for part, name in enumerate(slices.names) if name not in here]
        missing = distributed.from_main(missing)
        if not missing:
            return
        total, left = len(slices), int(sum(slices.sizes[part] for part in missing))
        mine = distributed.share(missing)

        def write(item: tuple[int, dict[str, np.ndarray]]) -> Row:
            part, arrays = item
            name = slices.names[part]
            return write_part(folder, name, arrays, order=slices.parts.rows[name].order)

        with (
            progress.task(label, total=total, done=total - left) as advance,
            closing(make(mine)) as made,
            closing(in_order(write, zip(mine, made, strict=True), workers=WRITERS)) as written,
        ):
            for _ in range(0, len(missing), distributed.size()):
                row = next(written, None)  # None: in the last iteration some ranks have no part
                finished = [row for row in distributed.gather(row) if row is not None]
                if parts is not None:
                    parts.add(*finished)
                advance(sum(row.count for row in finished))
    distributed.barrier()
