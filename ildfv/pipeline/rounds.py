"""One array per slice, part by part, by all ranks: each rank makes a part, then rank 0 lists the finished ones."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np

from ildfv import distributed
from ildfv.progress import Progress
from ildfv.store.parts import write_part, writing_parts

Made = Generator[dict[str, np.ndarray], None, None]


def write_rounds(
    folder: Path, slices, make: Callable[[Sequence[int]], Made], *, label: str, progress: Progress
) -> None:
    """Parts in `folder`, named as the slices' parts; those already there are left alone.

    make: numbers of parts → the arrays of each, in order; it may work ahead of what is asked of it. A killed run leaves
    its finished parts listed, bar those of the last seconds; the next run makes the rest.
    """
    with writing_parts(folder, slices.key) if distributed.is_main() else nullcontext() as parts:
        here = {} if parts is None else parts.rows
        missing = [part for part, name in enumerate(slices.names) if name not in here]
        missing = distributed.from_main(missing)
        if not missing:
            return
        total, left = len(slices), int(sum(slices.sizes[part] for part in missing))
        made = make(distributed.share(missing))
        with progress.task(label, total=total) as advance, closing(made):
            advance(total - left)
            for start in range(0, len(missing), distributed.size()):
                mine = distributed.share(missing[start : start + distributed.size()])
                rows = [write_part(folder, slices.names[part], next(made)) for part in mine]
                finished = [row for share in distributed.gather(rows) for row in share]
                if parts is not None:
                    parts.add(*finished)
                advance(sum(row.count for row in finished))
    distributed.barrier()
