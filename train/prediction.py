"""Scores of a network for slices."""

from __future__ import annotations

import numpy as np
import torch

from ildfv.progress import SILENT, Progress
from ildfv.streaming.feeding import outputs
from ildfv.train import networks
from ildfv.train.data import READ, SliceSet


@torch.inference_mode()
def predict(
    network: networks.Network,
    slices: SliceSet,
    indices,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = READ,
    progress: Progress = SILENT,
) -> np.ndarray:
    """Scores (m, c), float32, of the slices with these indices, in the order of the indices.

    After training with a logistic loss, 1/(1 + exp(−score)) is the probability that the pattern is present; after a
    regression the score estimates the target. The network is left on `device` in evaluation mode.
    """
    network = network.to(device).eval()
    indices = np.asarray(indices, dtype=np.int64)
    out = np.empty((len(indices), network.n_outputs), np.float32)
    batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    done = 0
    with progress.task("Predicting", total=len(indices)) as advance:
        for scores in outputs(network, slices.images, batches, torch.device(device), progress.note):
            out[done : done + len(scores)] = scores
            done += len(scores)
            advance(len(scores))
    return out
