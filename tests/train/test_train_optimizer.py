"""Learning rates rise to their peak and fall to 0 for any number of steps."""

import pytest

from ildfv.train.optimizer import MIN_WARM_UP, rate
from ildfv.train.settings import TrainSettings

SETTINGS = TrainSettings(learning_rate=0.5, warm_up=0.1)


def rates(steps: int, settings: TrainSettings = SETTINGS) -> list[float]:
    return [rate(settings, step, steps) for step in range(steps)]


@pytest.mark.parametrize("steps", [1, 2, 6, 20, 100, 1000])
def test_rates_rise_and_fall_within_the_peak(steps):
    found = rates(steps)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert min(found) > 0
    assert max(found) <= 0.5
    assert top < max(1, steps / 2)


@pytest.mark.parametrize(
    ("steps", "warm"), [(1, 1), (6, 3), (18, 9), (40, MIN_WARM_UP), (100, MIN_WARM_UP), (1000, 100)]
)
def test_the_warm_up_has_its_share_of_steps_and_a_minimum(steps, warm):
    assert rates(steps)[0] == pytest.approx(0.5 / warm)
