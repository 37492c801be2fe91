"""On out-of-memory batches are halved; no result is lost, duplicated, reordered or used before it is ready.

A simulated GPU executes the work on its streams only when an event is waited for, so a missing wait is detected.
Copies on a real GPU are tested in tests/cuda/test_cuda_gpu_streams.py.
"""

import gc
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from ildfv.kernels.cuda import oom
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.streaming import maps as stream
from ildfv.streaming import transfer

torch = pytest.importorskip("torch")
cat = torch.cat


@pytest.fixture(scope="module", autouse=True)
def few_objects():
    """Freezes the objects of earlier tests, so that the garbage collections after out-of-memory do not examine them."""
    gc.collect()
    gc.freeze()


class OutOfMemoryError(MemoryError):
    """The package recognises this exception by its name, which is that of torch's and CuPy's exception."""


def full_above(limit, error=OutOfMemoryError):
    def compute(batch):
        if len(batch) > limit:
            raise error("CUDA error: out of memory")
        return [2 * item for item in batch]

    return compute


@pytest.mark.parametrize(
    ("limit", "error"), [(1, RuntimeError), (3, OutOfMemoryError), (4, RuntimeError), (100, OutOfMemoryError)]
)
def test_all_items_are_computed_once_in_order(limit, error):
    notes = []
    retry = OomRetry(full_above(limit, error), note=notes.append)
    given = retry(range(16)) + retry(range(16, 23))
    assert [result for part in given for result in part] == [2 * i for i in range(23)]
    assert max(map(len, given)) <= min(limit, 16)
    assert len(notes) == {1: 4, 3: 3, 4: 2, 100: 0}[limit]  # the reduced size is kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("Unable to find an engine to execute this computation", True),
        ("GET was unable to find an engine to execute this computation", True),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED", False),
        ("cuDNN error: CUDNN_STATUS_BAD_PARAM", False),
    ],
)
def test_errors_of_torchs_libraries_that_mean_out_of_memory_are_recognised(text, expected):
    assert oom.is_out_of_memory(RuntimeError(text)) is expected
    assert not oom.is_out_of_memory(ValueError(text))


def test_results_are_joined():
    def squares(batch):
        return full_above(3)(batch) and batch**2

    for items in (np.arange(8.0), torch.arange(8.0)):
        assert (OomRetry(squares).joined(items) == items**2).all()


def test_out_of_memory_for_a_single_item_is_an_error():
    with pytest.raises(OutOfMemoryError):
        OomRetry(full_above(0))(range(4))


def test_other_errors_are_raised():
    def compute(batch):
        raise RuntimeError("an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"):
        OomRetry(compute)(range(4))


class SimulatedGpu:
    """Streams are lists of pending work; tensors contain poison until the work that fills them has been executed."""

    def __init__(self, device):
        self.device = str(device)
        self._local = threading.local()
        self._lock = threading.RLock()
        self.default: list = []
        self.streams = 0
        self.pinned_blocks: list = []
        self.most_waiting = 0

    def stream(self):
        self.streams += 1
        return []

    def current(self) -> list:
        return getattr(self._local, "stream", self.default)

    @contextmanager
    def on(self, stream):
        before = self.current()
        self._local.stream = stream
        try:
            yield
        finally:
            self._local.stream = before

    def put(self, work) -> None:
        with self._lock:
            self.current().append(work)
            self.most_waiting = max(self.most_waiting, len(self.current()))

    def mark(self):
        with self._lock:
            return self.current(), list(self.current())

    def wait(self, event) -> None:
        work, until = event
        with self._lock:
            for one in until:
                if one in work:
                    work.remove(one)
                    one()

    def follow(self, event) -> None:
        self.put(lambda: self.wait(event))

    def keep(self, tensor) -> None:
        assert isinstance(tensor, torch.Tensor)

    def pinned(self, size):
        self.pinned_blocks.append(torch.empty(size, dtype=torch.uint8))
        return self.pinned_blocks[-1]

    def moved(self, tensor):
        assert any(tensor.data_ptr() == block.data_ptr() for block in self.pinned_blocks)
        target = torch.full_like(tensor, 0xAA)
        self.put(lambda: target.copy_(tensor))
        return target

    def launched(self, compute, tensor):
        """The result of compute(tensor), filled in when the stream is executed."""
        target = torch.full_like(compute(tensor), float("nan"))
        self.put(lambda: target.copy_(compute(tensor)))
        return target

    def finish(self) -> None:
        self.wait((self.default, list(self.default)))


def widened(images):
    return images.float() * 3 + 1


@pytest.fixture
def gpu(monkeypatch):
    gpu = SimulatedGpu("cuda:0")
    monkeypatch.setenv("ILDFV_GRAPHS", "0")
    monkeypatch.setattr(transfer, "Gpu", lambda device: gpu)
    monkeypatch.setattr(torch, "cat", lambda parts: gpu.launched(cat, parts))
    return gpu


class Network:
    device = torch.device("cuda", 0)

    def __init__(self, gpu, room=100):
        self.gpu, self.room, self.batches, self.threads = gpu, room, [], set()

    def __call__(self, images):
        assert isinstance(images, torch.Tensor)
        assert self.gpu.current() is not self.gpu.default  # the moments use the default stream at the same time
        if len(images) > self.room:
            raise OutOfMemoryError
        self.batches.append(len(images))
        self.threads.add(threading.current_thread())
        return self.gpu.launched(widened, images)


class Images:
    """Slices of one pixel each."""

    starts = np.array([0, 37])

    def __len__(self):
        return 37

    def images(self, indices):
        return np.asarray(indices, dtype=np.uint8)[:, None]


def test_copies_are_asynchronous_and_complete(gpu):
    arrays = [np.full((i % 3 + 1, 5), i, dtype=np.uint8) for i in range(9)]
    tensors = []
    for tensor in transfer.to_device(iter(arrays), gpu):
        tensors.append((tensor, gpu.mark()))
    assert any((tensor == 0xAA).all() for tensor, _ in tensors)  # some copies are still pending
    gpu.finish()
    assert all(np.array_equal(tensor.numpy(), array) for (tensor, _), array in zip(tensors, arrays, strict=True))


@pytest.mark.parametrize("step", ["moved", "pinned"])
def test_a_copy_that_runs_out_of_memory_is_repeated_after_emptying_pools(gpu, monkeypatch, step):
    emptied, work = [], getattr(gpu, step)

    def scarce(given):
        if not emptied:
            raise RuntimeError("CUDA error: out of memory")
        return work(given)

    monkeypatch.setattr(oom.memory, "empty", lambda: emptied.append(True))
    monkeypatch.setattr(gpu, step, scarce)
    arrays = [np.full((2, 5), i, dtype=np.uint8) for i in range(4)]
    tensors = list(transfer.to_device(iter(arrays), gpu))
    gpu.finish()
    assert emptied == [True]
    assert all(np.array_equal(tensor.numpy(), array) for tensor, array in zip(tensors, arrays, strict=True))


def test_a_copy_that_does_not_fit_after_emptying_pools_is_an_error(gpu, monkeypatch):
    def full(given):
        raise OutOfMemoryError

    monkeypatch.setattr(gpu, "moved", full)
    with pytest.raises(OutOfMemoryError):
        list(transfer.to_device([np.zeros((2, 5), np.uint8)], gpu))


@pytest.mark.parametrize("room", [100, 5, 1])
def test_a_stream_on_a_gpu_yields_each_batch_once_in_order(gpu, room):
    network, notes, counted = Network(gpu, room), [], []
    batches = stream.batches(Images(), np.arange(37), 8)

    def then(maps):  # ends with a synchronisation, like the moments
        result = gpu.launched(lambda x: x * 2, maps)
        gpu.finish()
        return result.numpy()

    maps = stream.MapStream(Images(), network, batches, then=then, advance=counted.append, note=notes.append)
    done = list(maps)
    assert [len(one) for one in done] == [len(batch) for batch in batches] == counted
    assert np.array_equal(np.concatenate(done)[:, 0], (np.arange(37) * 3.0 + 1) * 2)
    assert max(network.batches) == {100: 8, 5: 4, 1: 1}[room]
    assert bool(notes) == (room < 8)
    assert len(network.threads) == 1  # a GPU is used by one thread, unlike CPU cores
    assert gpu.streams == 2  # one for copies, one for the network


def test_by_default_maps_stay_on_the_device(gpu):
    batches = stream.batches(Images(), np.arange(37), 8)
    given = list(stream.MapStream(Images(), Network(gpu), batches))
    gpu.finish()
    assert np.array_equal(cat(given).numpy()[:, 0], np.arange(37) * 3.0 + 1)


@pytest.mark.usefixtures("threads_end")
def test_leaving_a_stream_early_stops_its_threads(gpu):
    maps = iter(stream.MapStream(Images(), Network(gpu), stream.batches(Images(), np.arange(37), 2)))
    next(maps)
    maps.close()


def test_an_error_in_the_network_is_raised_in_the_consumer(gpu):
    with pytest.raises(OutOfMemoryError):
        list(stream.MapStream(Images(), Network(gpu, room=0), stream.batches(Images(), np.arange(37), 8)))
