"""Work in threads: ordered results, limited prefetching, errors in order, and no threads left behind."""

import threading
import time

import pytest

from ildfv.kernels import cpu
from ildfv.streaming.threads import in_order, split_cores


def test_results_are_in_the_order_of_the_items():
    def work(item):
        time.sleep(0.02 if item % 2 == 0 else 0)
        return item * item

    assert list(in_order(work, range(9), workers=3)) == [item * item for item in range(9)]


def test_an_error_is_raised_in_order():
    def work(item):
        if item == 2:
            raise ValueError("disk gone")
        return item

    results = in_order(work, range(9), workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="disk gone"):
        next(results)


def test_prefetching_is_limited_to_a_few_items():
    drawn = []
    results = in_order(lambda item: item, (drawn.append(n) or n for n in range(100)), workers=2)
    assert next(results) == 0
    assert len(drawn) <= 5
    results.close()
    assert len(drawn) <= 5


@pytest.mark.usefixtures("threads_end")
def test_leaving_early_ends_the_threads():
    results = in_order(lambda item: item, range(1000), workers=2)
    next(results)
    results.close()


def test_leaving_early_does_not_wait():
    go, ended = threading.Event(), []

    def work(item):
        if item > 0:
            go.wait(60)
            ended.append(item)

    results = in_order(work, range(9), workers=2)
    next(results)
    results.close()
    assert ended == []
    go.set()


def test_workers_respect_their_thread_limit_and_do_not_change_the_callers():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads(), cpu.num_threads()

    def work(_):
        torch.ones(300, 300) @ torch.ones(300, 300)  # torch initialises its threads on first use in every thread
        return torch.get_num_threads(), cpu.num_threads()

    assert set(in_order(work, range(4), workers=2, threads=1)) == {(1, 1)}
    assert (torch.get_num_threads(), cpu.num_threads()) == before


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 32])
def test_no_more_threads_than_cores(cores):
    cpu.set_num_threads(cores)
    try:
        workers, threads = split_cores()
        assert 1 <= workers * threads <= cores
    finally:
        cpu.set_num_threads(None)
