"""The level of air is the median of the values near the mode, for integers and floats."""

import numpy as np
import pytest

from ildfv.scans.normalise import FEWEST, NEAR_AIR, level_of_air
from ildfv.scans.tissue import mode


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_it_is_the_median_near_the_mode(seed, dtype):
    rng = np.random.default_rng(seed)
    air = np.concatenate([rng.normal(-1000 + seed, 5 + seed, FEWEST + seed), rng.normal(-880, 20, 500)]).astype(dtype)
    near = air[np.abs(air.astype(np.float64) - mode(air)) <= NEAR_AIR]
    assert level_of_air(rng.permutation(air)) == round(float(np.median(near.astype(np.float64))), 1)


def test_few_or_clipped_pixels_have_no_level():
    assert level_of_air(np.full(FEWEST - 1, -1000, np.int16)) is None
    assert level_of_air(np.full(FEWEST, -1000, np.int16)) is None
    assert level_of_air(np.empty(0, np.int16)) is None


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_the_mode_is_the_shortest_half_of_the_shortest_half_and_so_on(seed, dtype):
    rng = np.random.default_rng(seed)
    values = (rng.normal(0, 5, rng.integers(1, 200)) + rng.normal()).astype(dtype)
    x = np.sort(values).astype(float)
    while len(x) > 2:
        half = (len(x) + 1) // 2
        start = (x[half - 1 :] - x[: len(x) - half + 1]).argmin()
        x = x[start : start + half]
    assert mode(values) == x.mean()
