"""The training objective: the loss of a network's outputs for the pattern counts of the slices."""

from __future__ import annotations

import numpy as np
import torch

from ildfv.patterns import presence
from ildfv.train import losses
from ildfv.train.settings import TrainSettings
from ildfv.train.targets import targets


class Objective:
    """Outputs (b, c) and the indices of their slices (b,) → the loss of each slice, (b,), on the device of the outputs.

    counts (N, c): pixels of each pattern in each slice. beta (c,): weights of the patterns computed from the `fit`
    slices, None if the loss is not balanced.
    """

    def __init__(self, settings: TrainSettings, counts: np.ndarray, fit: np.ndarray, device: torch.device):
        self.settings, self.counts, self.device = settings, counts, device
        self.loss = losses.LOSSES[settings.loss.removeprefix(losses.BALANCED)]
        beta = losses.pattern_weights(presence(counts[fit], settings.threshold)) if settings.balanced else None
        self.beta = None if beta is None else torch.tensor(beta, dtype=torch.float32, device=device)

    def __call__(self, f: torch.Tensor, indices: np.ndarray) -> torch.Tensor:
        s = self.settings
        y = targets(s.target, self.counts[indices], threshold=s.threshold, ramp=s.ramp)
        # unpinned memory, so the copy is complete when the call returns
        return self.loss(f, torch.from_numpy(y).to(self.device, non_blocking=True), self.beta)
