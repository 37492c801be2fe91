"""Without torchrun there is one rank, and sums are unchanged."""

import numpy as np
import pytest

from ildfv import distributed
from ildfv.errors import InputError


def test_one_process_is_rank_zero_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (distributed.rank(), distributed.size(), distributed.is_main()) == (0, 1, True)
    arrays = {"a": np.arange(3.0)}
    assert distributed.sum_arrays(arrays) is arrays
    assert distributed.gather("x") == ["x"]
    assert distributed.from_main("x") == "x"


def test_shares_are_disjoint_and_cover_everything(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(distributed.share(range(2)))
    assert shares == [[0], [1], []]


def test_shares_are_contiguous_and_in_rank_order(monkeypatch):
    for size, expected in ((1, [[0, 1]]), (2, [[0], [1]]), (3, [[0], [1], []])):
        monkeypatch.setenv("WORLD_SIZE", str(size))
        runs = []
        for rank in range(size):
            monkeypatch.setenv("RANK", str(rank))
            runs.append(distributed.run_of(range(2)))
        assert runs == expected


@pytest.mark.parametrize(("n", "size"), [(1, 3), (2, 3), (3, 3), (7, 3), (1, 1), (0, 2)])
def test_contiguous_shares_cover_all_items_in_order_in_every_turn(monkeypatch, n, size):
    monkeypatch.setenv("WORLD_SIZE", str(size))
    counts = np.zeros(size, dtype=int)
    for turn in range(6):
        runs = []
        for rank in range(size):
            monkeypatch.setenv("RANK", str(rank))
            runs.append(distributed.run_of(range(n), turn))
        assert [item for run in runs for item in run] == list(range(n))
        counts += [len(run) for run in runs]
    if n > 0:
        assert (counts > 0).all()  # every rank has an item in some turn


@pytest.mark.parametrize("minutes", ["ten", "0", "-1", "inf", "nan"])
def test_an_invalid_timeout_is_refused(monkeypatch, minutes):
    monkeypatch.setenv("ILDFV_TIMEOUT_MINUTES", minutes)
    with pytest.raises(InputError, match=r"ILDFV_TIMEOUT_MINUTES must be a positive number of minutes"):
        distributed._timeout()
