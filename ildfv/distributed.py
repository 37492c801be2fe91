"""Sums across the ranks of a torchrun launch, and the identity without one.

Everything learned is a sum, so this is all that several processes or machines need: arrays added in float64, items
dealt to ranks, and rank 0 the only one that writes manifests and models. torch is imported only under torchrun.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import inf, nan
from typing import TypeVar

import numpy as np

from ildfv.errors import LostRankError, check

Item = TypeVar("Item")
TIMEOUT = "ILDFV_TIMEOUT_MINUTES"  # after so many a lost rank is noticed
LOST = f"another rank was lost, or is more than {TIMEOUT} behind: what it says tells why"


def size() -> int:
    """The number of ranks: 1 unless torchrun started this process."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number among the ranks, 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this rank writes manifests, models and messages."""
    return rank() == 0


def is_last_start() -> bool:
    """Whether torchrun would not start the ranks again if they ended now."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) >= int(
        os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")
    )


def start() -> None:
    """Joins the other ranks; nothing for one process. Called once, by the CLI or by a script under torchrun."""
    if size() == 1:
        return
    import torch
    import torch.distributed as dist

    # Imported later, as optimizers do, its functions' defaults would keep the process group: threads that outlive
    # `stop` abort now and then, as Python ends beneath them.
    import torch.distributed.nn.functional

    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        dist.init_process_group(backend, timeout=_timeout())


def _timeout() -> timedelta:
    given = os.environ.get(TIMEOUT, "10")
    try:
        minutes = float(given)
    except ValueError:
        minutes = nan
    check(0 < minutes < inf, f"{TIMEOUT} must be a number of minutes above 0, got {given!r}")
    return timedelta(minutes=minutes)


def stop() -> None:
    """Leaves the other ranks."""
    if size() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def sum_arrays(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each array summed over ranks, in float64; the same on every rank."""
    if size() == 1:
        return arrays
    import torch
    import torch.distributed as dist

    out = {}
    for name in sorted(arrays):  # every rank in the same order
        tensor = torch.from_numpy(np.array(arrays[name], dtype=np.float64, ndmin=1))
        with _together():
            dist.all_reduce(tensor)
        out[name] = tensor.numpy().reshape(np.shape(arrays[name]))
    return out


def sum_tensors(tensors: list) -> None:
    """Each torch tensor summed over ranks, in place, on its device; shapes and dtypes are the same on every rank."""
    if size() == 1:
        return
    import torch.distributed as dist

    with _together():
        for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
            work.wait()


def share_tensors(tensors: Iterable) -> None:
    """Rank 0's values in the torch tensors of all ranks, in place."""
    if size() == 1:
        return
    import torch.distributed as dist

    with _together():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def gather(item) -> list:
    """The items of all ranks, in rank order, on every rank."""
    if size() == 1:
        return [item]
    import torch.distributed as dist

    items: list = [None] * size()
    with _together():
        dist.all_gather_object(items, item)
    return items


def from_main(item):
    """Rank 0's item, on every rank."""
    if size() == 1:
        return item
    import torch.distributed as dist

    box = [item]
    with _together():
        dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def _together() -> Iterator[None]:
    """What the ranks do together; LostRankError where one of them has left."""
    import torch.distributed as dist

    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):  # gloo's own are RuntimeErrors
            raise LostRankError(LOST) from error
        raise


def barrier() -> None:
    """Returns when all ranks are here."""
    gather(None)


def share(items: Sequence[Item]) -> list[Item]:
    """The items that fall to this rank: every size()-th, from rank() on. Shares may be uneven or empty."""
    return list(items)[rank() :: size()]


def run_of(items: Sequence[Item], turn: int = 0) -> list[Item]:
    """The neighbouring items that fall to this rank: those of all ranks, in rank order, are all items in order.

    The first ranks have one more where they do not come out even. turn: where there are fewer items than ranks, other
    ranks have them at every turn; at turn 0 rank 0 has the first.
    """
    least, more = divmod(len(items), size())
    number = rank() if least else rank() - turn % (size() - more + 1)
    first = number * least + min(max(number, 0), more)
    return list(items[first : first + least + (0 <= number < more)])


def of_share(label: str) -> str:
    """The label of a task that counts this rank's share alone."""
    return label if size() == 1 else f"{label}, 1 of {size()} shares"
