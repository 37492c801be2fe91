"""Batches halve when memory runs out, and nothing is lost, given twice or out of order. Copies: test_cuda_gpu.py."""

import numpy as np
import pytest

from ildfv.kernels import transfer


class OutOfMemoryError(MemoryError):
    """Named as torch's and CuPy's are."""


def full_above(limit, error=OutOfMemoryError):
    def compute(batch):
        if len(batch) > limit:
            raise error("CUDA error: out of memory")
        return [2 * item for item in batch]

    return compute


@pytest.mark.parametrize("limit", [1, 3, 4, 100])
@pytest.mark.parametrize("error", [OutOfMemoryError, RuntimeError])
def test_all_items_are_computed_once_in_order(limit, error):
    notes = []
    given = list(transfer.in_batches(full_above(limit, error), range(23), 16, note=notes.append))
    assert [item for batch, _ in given for item in batch] == list(range(23))
    assert [item for _, result in given for item in result] == [2 * i for i in range(23)]
    assert max(len(batch) for batch, _ in given) <= min(limit, 16)
    assert len(notes) == {1: 4, 3: 3, 4: 2, 100: 0}[limit]


def test_one_item_that_does_not_fit_is_an_error():
    with pytest.raises(OutOfMemoryError):
        list(transfer.in_batches(full_above(0), range(4), 4))


def test_other_errors_are_not_memory():
    def compute(batch):
        raise RuntimeError("an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"):
        list(transfer.in_batches(compute, range(4), 4))


def test_on_the_cpu_nothing_is_copied():
    arrays = [np.arange(6, dtype=np.uint8).reshape(2, 3) + i for i in range(3)]
    tensors = list(transfer.to_device(iter(arrays), "cpu"))
    for array, tensor in zip(arrays, tensors, strict=True):
        array[0, 0] = 99
        assert tensor[0, 0] == 99
    assert transfer.batch_size(1 << 20, "cpu", most=7) == 7
