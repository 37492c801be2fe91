"""The training objective: the loss of a network's outputs for the pattern counts of the slices.

The paper regresses pixel counts, so the knee of its smooth L1 loss (Eq. 3) is at an error of one pixel. A network whose
outputs are numbers of pixels cannot be trained with the learning rate of the other losses: L2 gradients are as large as
the errors, thousands of pixels, and the outputs must become as large. Therefore a network's outputs are counts in units
of T, the threshold of presence in pixels. The loss is computed from outputs and targets multiplied by r = T / unit, and
is divided by r² (L2) or by r (smooth L1). Its minimum is that of the loss in the given unit, but the gradient with
respect to an output is as large as with unit T: at most β_k for smooth L1. The unit has no effect on L2.
"""

from __future__ import annotations

import numpy as np
import torch

from ildfv.patterns import presence
from ildfv.train import losses
from ildfv.train.settings import TrainSettings
from ildfv.train.targets import targets

CERTAIN = 1e4  # output at which the logistic loss of the correct class is exactly 0 in float32


class Objective:
    """Outputs (b, c) and the indices of their slices (b,) → the loss of each slice, (b,), on the device of the outputs.

    For a regression of counts, the loss is in units of T (L2: of T²), and the knee of smooth L1 is at `unit` pixels.

    counts (N, c): pixels of each pattern in each slice, −1 = unknown, which does not contribute to the loss. beta (c,):
    weights of the patterns computed from the `fit` slices, None if the loss is not balanced. lung (N,): lung pixels.
    """

    def __init__(
        self,
        settings: TrainSettings,
        counts: np.ndarray,
        fit: np.ndarray,
        device: torch.device,
        lung: np.ndarray | None = None,
    ):
        self.settings, self.counts, self.device, self.lung = settings, counts, device, lung
        name = settings.loss.removeprefix(losses.BALANCED)
        self.loss = losses.LOSSES[name]
        self.units = 1.0 if settings.unit is None else int(settings.threshold) / settings.unit  # number of units in T
        self.divisor = self.units ** losses.DEGREES[name]
        shown = presence(counts[fit], settings.threshold, self._lung(fit))
        beta = losses.pattern_weights(shown) if settings.balanced else None
        self.beta = None if beta is None else torch.tensor(beta, dtype=torch.float32, device=device)

    def __call__(self, f: torch.Tensor, indices: np.ndarray) -> torch.Tensor:
        s = self.settings
        known = self.counts[indices] >= 0
        counts = np.where(known, self.counts[indices], 0)
        y = targets(s.target, counts, threshold=s.threshold, ramp=s.ramp, lung=self._lung(indices))
        # unpinned memory, so the copy is complete when the call returns
        y_on = torch.from_numpy(y).to(self.device, non_blocking=True)
        if not known.all():  # replaces outputs whose label is unknown by outputs with zero loss and gradient
            perfect = y_on * CERTAIN if self.loss is losses.logistic else y_on
            f = torch.where(torch.from_numpy(known).to(self.device), f, perfect)
        if s.unit is None:
            return self.loss(f, y_on, self.beta)
        return self.loss(f * self.units, y_on * self.units, self.beta) / self.divisor

    def _lung(self, indices: np.ndarray) -> np.ndarray | None:
        return None if self.lung is None else self.lung[indices]
