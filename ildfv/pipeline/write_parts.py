"""One array per slice, part by part, by all ranks: each rank makes a part, then rank 0 lists the finished ones."""

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
WRITERS = 2  # parts written at once: a disk takes milliseconds to say that a file is safe


def write_parts(folder: Path, slices, make: Callable[[Sequence[int]], Made], *, label: str, progress: Progress) -> None:
    """Parts in `folder`, named as the slices' parts; those already there are left alone.

    make: numbers of parts → the arrays of each, in order; it may work ahead of what is asked of it, and goes on while
    finished parts are written, synced and hashed. A killed run leaves its finished parts listed, bar those of the last
    seconds; the next run makes the rest.
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
            return write_part(folder, slices.names[part], arrays)

        with (
            progress.task(label, total=total, done=total - left) as advance,
            closing(make(mine)) as made,
            closing(in_order(write, zip(mine, made, strict=True), workers=WRITERS)) as written,
        ):
            for _ in range(0, len(missing), distributed.size()):
                row = next(written, None)  # None: the last round may be shorter than there are ranks
                finished = [row for row in distributed.gather(row) if row is not None]
                if parts is not None:
                    parts.add(*finished)
                advance(sum(row.count for row in finished))
    distributed.barrier()
