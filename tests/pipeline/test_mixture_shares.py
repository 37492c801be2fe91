"""The steps of a stepwise pass contain every slice once, are not empty, and do not depend on the number of ranks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ildfv.pipeline.mixture import STEPS, _shares
from ildfv.streaming.maps import batches

PARTS = {
    "parts of one slice": np.ones(400, dtype=int),
    "small parts": np.full(300, 5),
    "parts of a batch and a remainder": np.full(100, 17),
    "uneven parts": np.random.default_rng(0).integers(1, 60, size=200),
    "few uneven parts": np.random.default_rng(1).integers(1, 40, size=50),
    "few slices": np.array([3, 2]),
    "many slices": np.full(700, 40),
}


def steps_of(slices, n: int, batch_size: int, ranks: int, monkeypatch) -> list[list[np.ndarray]]:
    """The slices of each step by rank. The maps of a slice contain its number, so that they identify the slice."""
    settings = SimpleNamespace(method="stepwise", components=32, batch_size=batch_size)
    indices = np.arange(slices.starts[-1])
    monkeypatch.setenv("WORLD_SIZE", str(ranks))
    by_rank = []
    for rank in range(ranks):
        monkeypatch.setenv("RANK", str(rank))
        shares = _shares(slices, SimpleNamespace(n=n), indices, settings)
        maps = (batch[:, None] for share in shares for batch in share.batches)
        by_rank.append([step for share in shares for step in share.cut(maps)])
        assert next(maps, None) is None
    return [[part[:, 0] for mine in step for part in mine] for step in zip(*by_rank, strict=True)]


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("n", [1, 169, 2916])
@pytest.mark.parametrize("batch_size", [4, 16])
def test_steps_contain_every_slice_once_for_any_number_of_ranks(monkeypatch, name, n, batch_size):
    slices = SimpleNamespace(starts=np.append(0, np.cumsum(PARTS[name])))
    alone = steps_of(slices, n, batch_size, 1, monkeypatch)
    given = [np.concatenate(step) for step in alone]
    assert all(len(part) > 0 for step in alone for part in step)
    size = max(-(-32 * 32 // n), min(4 * batch_size, len(np.concatenate(given)) // STEPS))  # aim for a step
    assert max(map(len, given)) <= 1.5 * size + batch_size  # for any number of slices
    assert min(map(len, given)) >= min(size // 2, slices.starts[-1])
    np.testing.assert_array_equal(np.sort(np.concatenate(given)), np.arange(slices.starts[-1]))
    for ranks in (2, 3):
        several = steps_of(slices, n, batch_size, ranks, monkeypatch)
        assert [[part.tolist() for part in step] for step in several] == [[p.tolist() for p in step] for step in alone]


def test_with_few_slices_a_batch_has_several_steps_and_every_rank_computes_some(monkeypatch):
    slices = SimpleNamespace(starts=np.arange(0, 1601, 32))
    steps = steps_of(slices, 2916, 16, 1, monkeypatch)
    assert STEPS / 1.5 <= len(steps) <= STEPS * 1.5
    settings = SimpleNamespace(method="stepwise", components=32, batch_size=16)
    monkeypatch.setenv("WORLD_SIZE", "2")
    mine = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        shares = _shares(slices, SimpleNamespace(n=2916), np.arange(1600), settings)
        mine.append([batch.tolist() for share in shares for batch in share.batches])
    assert [len(own) for own in mine] == [50, 50]
    assert sorted(map(tuple, mine[0] + mine[1])) == sorted(map(tuple, batches(slices, np.arange(1600), 16)))
