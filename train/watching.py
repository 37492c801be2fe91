"""What surrounds the steps: the TensorBoard log, and arithmetic that repeats bit by bit."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ildfv import distributed


@contextmanager
def tensorboard(folder: Path, first_step: int) -> Iterator[Callable]:
    """`log(row, step_losses)`, which puts an epoch's row of the history and its steps' losses into `folder`/log.

    Rank 0 alone writes. Steps from `first_step` on that a killed run logged before are purged, so a resumed curve has
    no point twice. Errors of the disk are raised where they happen: SummaryWriter's are lost in a thread of its own.
    """
    if not distributed.is_main():
        yield lambda row, step_losses: None
        return
    with warnings.catch_warnings():  # tensorboard's own use of deprecated calls is not the user's
        warnings.simplefilter("ignore")
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    step = first_step

    def add(**what) -> None:
        records.write(Event(wall_time=time.time(), **what).SerializeToString())

    def scalar(name: str, value: float, step: int) -> None:
        add(step=step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)]))

    def log(row: dict, step_losses: list[float]) -> None:
        nonlocal step
        for loss in step_losses:
            scalar("step/loss", loss, step)
            step += 1
        scalars = {"loss": row["loss"], "validation_loss": row["validation_loss"], "mean_auc": row["mean_auc"]}
        scalars |= {f"auc/{name}": auc for name, auc in row["validation_auc"].items()}
        for name, value in scalars.items():
            if value is not None:
                scalar(f"epoch/{name}", value, step - 1)
        records.flush()

    where = folder / "log"
    where.mkdir(exist_ok=True)
    with (where / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}").open("xb") as file:
        records = RecordWriter(file)
        add(step=first_step, file_version="brain.Event:2")
        if first_step:
            add(step=first_step, session_log=SessionLog(status=SessionLog.START))
        records.flush()
        yield log


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Equal runs give equal bits on this device; what CUDA cannot do so it warns of.

    Settings and random numbers of the caller are afterwards as they were.
    """
    if device.type != "cuda":
        with torch.random.fork_rng(devices=[]):
            yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        with torch.random.fork_rng(devices=[device]):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = before[2]
