"""Which epoch's weights are kept, and when training stops early."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.errors import check

ENOUGH_PATIENTS = 2  # minimum number of validation patients for early stopping: one patient's AUC is mostly noise


def kept_epoch(history: Sequence[dict], select: str) -> int:
    """The number, from 1, of the epoch whose weights are kept; 0 before the first epoch.

    select="last" keeps the last epoch. select="best" keeps the epoch with the highest mean validation AUC. If
    several epochs have this AUC, it keeps the one with the lowest validation loss, and of several of these the first.
    An undefined AUC counts as 0. Without validation slices, the training loss is compared instead.
    """
    if select == "last" or not history:
        return len(history)

    def merit(row: dict) -> tuple[float, float]:
        loss = row["loss"] if row["validation_loss"] is None else row["validation_loss"]
        return (row["mean_auc"] or 0.0, -loss)

    return max(history, key=merit)["epoch"]


def is_exhausted(history: Sequence[dict], patience: int | None) -> bool:
    """Whether the last `patience` epochs have not improved on the best epoch before them."""
    return patience is not None and len(history) - kept_epoch(history, "best") >= patience


def check_enough_patients(patience: int | None, patients: np.ndarray) -> None:
    """Raises InputError if early stopping is requested with too few patients. patients: of the validation slices."""
    n = len(np.unique(patients))
    check(
        patience is None or n >= ENOUGH_PATIENTS,
        f"patience needs at least {ENOUGH_PATIENTS} validation patients with labels, got {n}: omit --patience, or "
        "prepare more patients",
    )
