"""Communication between the ranks of a torchrun launch. Without torchrun there is one rank.

Fitting accumulates sufficient statistics, so ranks only need to add arrays in float64 and to divide items among them.
Only rank 0 writes manifests and models. All ranks must call the functions that communicate, in the same order; these
functions raise LostRankError if another rank has ended. The command line imports this module, so torch is imported only
under torchrun and NumPy only inside functions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import inf, nan
from typing import TYPE_CHECKING, TypeVar

from ildfv.errors import LostRankError, check

if TYPE_CHECKING:
    import numpy as np

Item = TypeVar("Item")
TIMEOUT = "ILDFV_TIMEOUT_MINUTES"  # environment variable: minutes that a rank waits for the others
LOST = f"another rank has ended or did not respond within {TIMEOUT} minutes: see the messages of that rank"


def size() -> int:
    """The number of ranks, 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this rank, 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is rank 0, which writes manifests, models and messages."""
    return rank() == 0


def is_last_start() -> bool:
    """Whether torchrun will not restart the ranks if they fail now."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) >= int(
        os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")
    )


def start() -> None:
    """Initialises the process group under torchrun; otherwise does nothing. Call it once at the start of a script.

    InputError: ILDFV_TIMEOUT_MINUTES is not a positive number.
    """
    if size() == 1:
        return
    import torch
    import torch.distributed as dist

    # torch's optimizers import this module. If that happened after the process group was created, the module's default
    # arguments would keep a reference to the group: its threads would continue after `stop` and could abort at exit.
    import torch.distributed.nn.functional

    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        dist.init_process_group(backend, timeout=_timeout())


def _timeout() -> timedelta:
    text = os.environ.get(TIMEOUT, "10")
    try:
        minutes = float(text)
    except ValueError:
        minutes = nan
    check(0 < minutes < inf, f"{TIMEOUT} must be a positive number of minutes, got {text!r}")
    return timedelta(minutes=minutes)


def stop() -> None:
    """Destroys the process group."""
    if size() > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def sum_arrays(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The sum of each array over ranks, float64 and of the same shape; equal on every rank.

    arrays: by name; names and shapes must be the same on every rank. Without torchrun, `arrays` itself is returned, in
    its own dtypes.
    """
    if size() == 1:
        return arrays
    import numpy as np
    import torch
    import torch.distributed as dist

    out = {}
    for name in sorted(arrays):  # the order must be the same on every rank
        tensor = torch.from_numpy(np.array(arrays[name], dtype=np.float64, ndmin=1))
        with _collective():
            dist.all_reduce(tensor)
        out[name] = tensor.numpy().reshape(np.shape(arrays[name]))
    return out


def sum_tensors(tensors: list) -> None:
    """Sums each torch tensor over ranks in place; shapes and dtypes must be the same on every rank."""
    if size() == 1:
        return
    import torch.distributed as dist

    with _collective():
        for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
            work.wait()


def share_tensors(tensors: Iterable) -> None:
    """Copies the torch tensors of rank 0 to all ranks, in place."""
    if size() == 1:
        return
    import torch.distributed as dist

    with _collective():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def gather(item) -> list:
    """The items of all ranks in rank order, on every rank."""
    if size() == 1:
        return [item]
    import torch.distributed as dist

    items: list = [None] * size()
    with _collective():
        dist.all_gather_object(items, item)
    return items


def from_main(item):
    """Rank 0's item, on every rank."""
    if size() == 1:
        return item
    import torch.distributed as dist

    box = [item]
    with _collective():
        dist.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def _collective() -> Iterator[None]:
    """Context manager for collective operations: raises LostRankError if another rank has ended."""
    import torch.distributed as dist

    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):  # gloo raises RuntimeError
            raise LostRankError(LOST) from error
        raise


def barrier() -> None:
    """Waits until all ranks have called it."""
    gather(None)


def share(items: Sequence[Item]) -> list[Item]:
    """This rank's share of the items: items[rank()::size()]. Shares may be unequal or empty."""
    return list(items)[rank() :: size()]


def run_of(items: Sequence[Item], turn: int = 0) -> list[Item]:
    """This rank's contiguous share of the items. The shares of all ranks, joined in rank order, are the items in order.

    If the number of items is not a multiple of the number of ranks, the first ranks have one item more. turn: if there
    are m items, fewer than ranks, consecutive ranks have one item each, starting at rank turn mod (size() − m + 1).
    """
    least, more = divmod(len(items), size())
    number = rank() if least else rank() - turn % (size() - more + 1)
    first = number * least + min(max(number, 0), more)
    return list(items[first : first + least + (0 <= number < more)])


def of_share(label: str) -> str:
    """The label of a progress task, with the number of shares if the task counts only this rank's share."""
    return label if size() == 1 else f"{label}, 1 of {size()} shares"
