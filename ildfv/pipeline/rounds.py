"""One array per slice, part by part, by all ranks: each rank makes a part, then rank 0 lists the finished ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from ildfv import distributed
from ildfv.progress import Progress
from ildfv.store.parts import write_part, writing_parts


def write_rounds(
    folder: Path, slices, make: Callable[[str], dict[str, np.ndarray]], *, label: str, progress: Progress
) -> None:
    """Parts in `folder`, named as the slices' parts, each holding `make(name)`; those already there are left alone.

    A killed run leaves its finished parts listed, bar those of the last seconds; the next run makes the rest.
    """
    with writing_parts(folder, slices.key) if distributed.is_main() else nullcontext() as parts:
        missing = [name for name in slices.names if name not in parts] if distributed.is_main() else None
        missing = distributed.from_main(missing)
        if not missing:
            return
        sizes = dict(zip(slices.names, np.diff(slices.starts).tolist(), strict=True))
        with progress.task(label, total=sum(sizes.values())) as advance:
            advance(sum(sizes.values()) - sum(sizes[name] for name in missing))
            for start in range(0, len(missing), distributed.size()):
                mine = distributed.share(missing[start : start + distributed.size()])
                rows = [write_part(folder, name, make(name)) for name in mine]
                finished = [row for share in distributed.gather(rows) for row in share]
                if distributed.is_main():
                    parts.add(*finished)
                advance(sum(row.count for row in finished))
    distributed.barrier()
