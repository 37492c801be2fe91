"""The TensorBoard log of a training run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ildfv import distributed


@contextmanager
def tensorboard_log(folder: Path, first_step: int) -> Iterator[Callable[[dict, list[float]], None]]:
    """Context manager that yields log(row, step_losses), which writes to `folder`/log.

    row: an epoch's row of the history; step_losses: the losses of its steps. Only rank 0 writes. TensorBoard discards
    points from `first_step` on that an interrupted run has logged, so the curve of a resumed run has no duplicates.
    Write errors, such as a full disk, are raised at the end of an epoch.
    """
    if not distributed.is_main():
        yield lambda row, step_losses: None
        return
    with warnings.catch_warnings():  # users cannot act on deprecation warnings within tensorboard
        warnings.simplefilter("ignore")
        from torch.utils.tensorboard import SummaryWriter

    step = first_step
    with SummaryWriter(folder / "log", purge_step=first_step or None) as writer:

        def log(row: dict, step_losses: list[float]) -> None:
            nonlocal step
            for loss in step_losses:
                writer.add_scalar("step/loss", loss, step)
                step += 1
            scalars = {"loss": row["loss"], "validation_loss": row["validation_loss"], "mean_auc": row["mean_auc"]}
            scalars |= {f"auc/{name}": auc for name, auc in row["validation_auc"].items()}
            for name, value in scalars.items():
                if value is not None:
                    writer.add_scalar(f"epoch/{name}", value, step - 1)
            writer.flush()

        yield log
