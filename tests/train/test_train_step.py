"""On out-of-memory, a step computes its shards in smaller parts, with the same result."""

import numpy as np
import pytest
import torch
from train_support import MemorySlices  # registers the network "tiny"

from ildfv.streaming.feeding import feed
from ildfv.train import networks
from ildfv.train.data import Epoch
from ildfv.train.optimizer import make_optimizer
from ildfv.train.settings import TrainSettings
from ildfv.train.step import Step

CPU = torch.device("cpu")


def learned(
    fits: int | None = None, shards: int = 2, seed: int = 0
) -> tuple[dict[str, np.ndarray], list[float], list[str]]:
    """Weights, losses and notes of three steps of 16 slices; more than `fits` slices at once run out of memory."""
    network = networks.build("tiny", seed=0).train()
    notes: list[str] = []

    def loss(f: torch.Tensor, indices: np.ndarray) -> torch.Tensor:
        loss = ((f - torch.from_numpy(indices).float()[:, None] / 50) ** 2).sum(dim=1)
        if fits is not None and len(f) > fits:
            loss.sum().backward(retain_graph=True)  # leaves gradients of a part that fails midway
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return loss

    settings = TrainSettings(optimizer="sgd")
    step = Step(network, make_optimizer(settings, network), loss, CPU, note=notes.append)
    epoch = Epoch(MemorySlices(), np.arange(48), 16, 0, 0, shards=shards)
    steps = enumerate(feed(epoch, CPU))
    losses = [float(step(batch, images, seed + number, 0.01)) for number, (batch, images) in steps]
    return networks.tensors(network), losses, notes


def test_out_of_memory_halves_the_parts_with_the_same_result():
    whole, losses, _ = learned()
    halves, same, notes = learned(fits=3)
    assert notes == [f"out of device memory: batch size reduced to {n}" for n in (4, 2)]  # once: later steps keep it
    np.testing.assert_allclose(same, losses, rtol=1e-6)
    for name, value in whole.items():
        np.testing.assert_allclose(halves[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_out_of_memory_for_a_single_slice_is_an_error():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        learned(fits=0)


def test_the_number_of_shards_does_not_change_the_result():
    whole, losses, _ = learned(shards=1)
    for shards in (2, 5, 20):  # with 20 shards some are empty
        weights, same, _ = learned(shards=shards)
        np.testing.assert_allclose(same, losses, rtol=1e-6)
        for name, value in whole.items():
            np.testing.assert_allclose(weights[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_any_seed_is_accepted():
    assert np.isfinite(learned(seed=2**31 * 1_000_003)[1]).all()
