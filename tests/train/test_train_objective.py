"""The unit of the counts target: the knee of smooth L1 is at `unit` pixels, and gradients keep their size."""

import numpy as np
import pytest
import torch
from train_support import MemorySlices

from ildfv.errors import InputError
from ildfv.train.objective import Objective
from ildfv.train.settings import TrainSettings
from ildfv.train.trainer import predict, train

COUNTS = np.array([[6000, 0, 3000, 12000]], np.int32)
FIT = np.array([0])


def loss_and_gradient(f, **settings):
    settings = TrainSettings(**{"loss": "smooth-l1", "target": "counts", "threshold": 6000, **settings})
    f = torch.tensor([f], requires_grad=True)
    loss = Objective(settings, COUNTS, FIT, torch.device("cpu"))(f, FIT)
    loss.sum().backward()
    return loss.item(), f.grad[0].tolist()


def test_the_knee_of_smooth_l1_is_at_one_unit():
    """Errors of 1.5, 1, 0.25 and 0 T in units of 3000 pixels: 3, 2, 0.5 and 0, divided by T / unit = 2."""
    loss, gradient = loss_and_gradient([2.5, 1.0, 0.25, 2.0], unit=3000)
    assert loss == pytest.approx(((3 - 0.5) + (2 - 0.5) + 0.5 * 0.5**2) / 2)
    assert gradient == pytest.approx([1, 1, -0.5, 0])


def test_without_a_unit_the_knee_is_at_t():
    assert loss_and_gradient([1.5, 0.5, 0.5, 2.0]) == loss_and_gradient([1.5, 0.5, 0.5, 2.0], unit=6000)
    assert loss_and_gradient([1.5, 0.5, 0.5, 2.0])[1] == pytest.approx([0.5, 0.5, 0, 0])


def test_in_pixels_smooth_l1_is_the_absolute_error_and_differs_from_l2():
    f = [1.5, 0.1, 0.5, 1.0]
    loss, gradient = loss_and_gradient(f, unit=1)
    assert loss == pytest.approx(0.5 + 0.1 + 1.0, abs=1e-3)
    assert gradient == pytest.approx([1, 1, 0, -1], abs=1e-3)
    assert loss_and_gradient(f, unit=1, loss="l2")[1] == pytest.approx([1.0, 0.2, 0, -2.0])


def test_l2_is_the_same_in_all_units():
    f = [1.5, 0.1, 0.5, 1.0]
    in_pixels, in_t = loss_and_gradient(f, unit=1, loss="l2"), loss_and_gradient(f, loss="l2")
    assert in_pixels[0] == pytest.approx(in_t[0])
    assert in_pixels[1] == pytest.approx(in_t[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unit": 1.0, "target": "step"}, "unit must be omitted unless target is counts"),
        ({"unit": 0.0}, "unit must be a positive number of pixels, got 0"),
        ({"ramp": (1, 2)}, "ramp must be omitted unless target is ramp"),
        ({"target": "ramp", "ramp": (9000, 3000)}, "0 ≤ T1 < T2"),
    ],
)
def test_settings_that_would_be_ignored_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainSettings(**{"loss": "smooth-l1", "target": "counts", **settings})


def test_smooth_l1_in_pixels_trains_as_stably_as_in_t(tmp_path):
    """The same learning rate; predictions are counts in units of T in both cases, and differ from those of L2."""
    slices, answers = MemorySlices(), {}
    fit, validation = np.arange(40), np.arange(40, 60)
    cases = {"pixels": ("smooth-l1", 1), "T": ("smooth-l1", None), "l2": ("l2", 1)}
    for name, (loss, unit) in cases.items():
        settings = TrainSettings(network="tiny", loss=loss, target="counts", unit=unit, epochs=12, learning_rate=3e-3)
        result = train(settings, slices, fit, validation, tmp_path / name)
        assert result.history[-1]["validation_loss"] < result.history[0]["validation_loss"]
        answers[name] = predict(result.network, slices, validation)
    truth = slices.counts[validation] / 6000
    for name, found in answers.items():
        assert np.abs(found - truth).mean() < np.abs(truth - np.median(truth)).mean(), name
    assert np.abs(answers["pixels"] - answers["l2"]).max() > 0.05
