"""Tests on a real GPU: streams, threads, scarce memory, copies and arrays of other libraries (`pytest -m gpu`)."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from gpu_support import available_devices, cupy, fresh_rng, host, needs_gpu, torch
from problems import (
    descriptors,
    distances,
    mixture,
    room_for_half,
    scarce_batch,
)

from ildfv import kernels
from ildfv.kernels import reference
from ildfv.kernels.cuda import fisher, memory, moments, oom, run
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.streaming import transfer

pytestmark = [pytest.mark.gpu, needs_gpu]


@pytest.fixture
def rng():
    return fresh_rng()


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_work_waits_for_the_callers_stream(put, rng):
    parameters = mixture(rng, 32, 64)
    x = descriptors(rng, parameters, 8, 2916)
    expected = host(moments.moments(put(x), *parameters))
    if type(put(x)).__module__ != "torch":
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            late = cupy.zeros(x.shape, dtype=np.float32)
            for _ in range(50):  # keeps the stream busy before the values are written
                late += 1
            late[...] = cupy.asarray(x)
            result = moments.moments(late, *parameters)
    else:
        with torch.cuda.stream(torch.cuda.Stream()):
            late = torch.zeros(x.shape, device="cuda")
            torch.cuda._sleep(100_000_000)
            late.copy_(torch.from_numpy(x).cuda())
            result = moments.moments(late, *parameters)
    assert all(np.array_equal(a, b) for a, b in zip(expected, host(result), strict=True))


def test_threads_with_separate_streams_do_not_interfere(put, rng):
    from concurrent.futures import ThreadPoolExecutor

    problems = []
    for _ in range(4):
        parameters = mixture(rng, 32, 64)
        problems.append((put(descriptors(rng, parameters, 4, 2916)), parameters))
    expected = [host(moments.moments(x, *parameters)) for x, parameters in problems]

    def work(i):
        x, parameters = problems[i % 4]
        if type(x).__module__ == "torch":
            with torch.cuda.stream(torch.cuda.Stream()):
                return host(moments.moments(x, *parameters))
        with cupy.cuda.Stream(non_blocking=True):
            return host(moments.moments(x, *parameters))

    with ThreadPoolExecutor(4) as executor:
        for i, result in enumerate(executor.map(work, range(40))):
            assert all(np.array_equal(a, b) for a, b in zip(expected[i % 4], result, strict=True))


def test_the_second_device_agrees(put, rng):
    if available_devices() < 2:
        pytest.skip("needs two CUDA devices")
    parameters = mixture(rng, 32, 64)
    x = descriptors(rng, parameters, 4, 2916)
    here = put(x)
    if type(here).__module__ == "torch":
        there = here.to("cuda:1")
        current, number = torch.cuda.current_device, there.device.index
    else:
        with cupy.cuda.Device(1):
            there = cupy.asarray(x)
        current, number = cupy.cuda.runtime.getDevice, there.device.id
    assert (current(), number) == (0, 1)
    for options in ({}, {"pooled": True}):
        first, second = (moments.moments(a, *parameters, **options) for a in (here, there))
        assert str(second.s1.device) == str(there.device)
        assert current() == 0
        assert all(np.array_equal(a, b) for a, b in zip(host(first), host(second), strict=True))
    n = np.full(4, 2916.0)
    made = [fisher.vectors(moments.moments(a, *parameters), n, parameters[0]) for a in (here, there)]
    assert np.array_equal(*host(made))
    assert current() == 0


class Cramped:
    """Context manager that limits further allocations to `room` bytes."""

    def __init__(self, package: str, room: int):
        self.package, self.room = package, room

    def __enter__(self):
        memory.empty()
        if self.package == "torch":
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + self.room) / total)
        else:
            own = cupy.get_default_memory_pool()
            self.before, self.allocator = own.get_limit(), cupy.cuda.get_allocator()
            cupy.cuda.set_allocator(own.malloc)
            own.set_limit(own.total_bytes() + self.room)

    def __exit__(self, *_):
        if self.package == "torch":
            torch.cuda.set_per_process_memory_fraction(1.0)
        else:
            cupy.get_default_memory_pool().set_limit(self.before)
            cupy.cuda.set_allocator(self.allocator)


@pytest.mark.parametrize("pooled", [False, True])
def test_moments_halve_the_rounds_on_out_of_memory(put, rng, monkeypatch, pooled):
    x, parameters = scarce_batch(rng)
    maps = put(x)
    library = type(maps).__module__.partition(".")[0]
    monkeypatch.setattr(memory, "join", lambda: False)  # so that the limit on CuPy's own pool applies
    expected = host(moments.moments(maps, *parameters, pooled=pooled))
    monkeypatch.setattr(run, "_round_sizes", {})
    with Cramped(library, room_for_half(pooled=pooled)), pytest.warns(RuntimeWarning, match="out of device memory"):
        found = host(moments.moments(maps, *parameters, pooled=pooled))
    assert all(map(np.array_equal, found, expected))


def test_estimators_halve_the_batch_on_out_of_memory(put, rng, monkeypatch):
    pytest.importorskip("array_api_compat")
    pytest.importorskip("sklearn")
    from ildfv import FisherVector, GaussianMixture

    x, parameters = scarce_batch(rng)
    maps = put(x)
    library = type(maps).__module__.partition(".")[0]
    monkeypatch.setattr(memory, "join", lambda: False)
    given = GaussianMixture.from_parameters(*parameters)
    names = dict(zip(("weights_init", "means_init", "variances_init"), parameters, strict=True))

    def computed():
        fitted = GaussianMixture(64, max_iter=2, tol=np.inf, **names).fit(maps)
        return [fitted.means_, np.array(given.score(maps)), *host([FisherVector(given).transform(maps)])]

    expected = computed()
    monkeypatch.setattr(run, "_round_sizes", {})
    with Cramped(library, room_for_half(pooled=False)), pytest.warns(RuntimeWarning, match="out of device"):
        found = computed()
    assert all(map(np.array_equal, found, expected))


@pytest.mark.skipif(torch is None or cupy is None, reason="needs torch and CuPy")
def test_cupy_allocates_from_torchs_pool(way, rng):
    if not torch.cuda.is_available():
        pytest.skip("needs torch with CUDA")
    torch.zeros(1, device="cuda")
    before = cupy.cuda.get_allocator()
    try:
        cupy.cuda.set_allocator(cupy.get_default_memory_pool().malloc)
        assert memory.join()
        had = torch.cuda.memory_allocated()
        array = cupy.zeros(1 << 20, dtype=np.uint8)
        assert torch.cuda.memory_allocated() - had >= array.nbytes
        parameters = mixture(rng, 32, 64)
        x = descriptors(rng, parameters, 4, 700)
        with cupy.cuda.Stream(non_blocking=True):
            found = host(moments.moments(cupy.asarray(x), *parameters))
        assert max(distances(found, reference.moments(x, *parameters))) < 1e-5
        del array
        assert torch.cuda.memory_allocated() - had < 1 << 20
    finally:
        cupy.cuda.set_allocator(before)


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_batches_halve_on_out_of_memory(way, rng):
    parameters = mixture(rng, 32, 64)
    x = descriptors(rng, parameters, 16, 729)
    expected = host(moments.moments(torch.from_numpy(x).cuda(), *parameters))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    notes = []

    def compute(batch):
        maps = torch.from_numpy(x[batch]).cuda()
        torch.empty((len(batch), 64 << 20), dtype=torch.uint8, device="cuda")  # memory of a network's activations
        return host(moments.moments(maps, *parameters))

    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (700 << 20)) / total)
    try:
        given = OomRetry(compute, note=notes.append)(np.arange(16))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert notes
    joined = [np.concatenate(parts) for parts in zip(*given, strict=True)]
    assert all(np.array_equal(a, b) for a, b in zip(expected, joined, strict=True))


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_copies_arrive_in_order_and_complete(rng):
    arrays = [rng.integers(0, 256, (rng.integers(1, 40), 3, 224, 224), dtype=np.uint8) for _ in range(12)]
    for array, tensor in zip(arrays, transfer.to_device(iter(arrays), transfer.Gpu("cuda:0")), strict=True):
        torch.cuda._sleep(10_000_000)
        assert torch.equal(tensor.cpu(), torch.from_numpy(array))


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_the_batch_size_fits_in_memory():
    free, _ = torch.cuda.mem_get_info(0)
    assert oom.batch_size(free // 10, "cuda:0") in range(1, 10)
    assert oom.batch_size(1, "cuda:0", maximum=64) == 64


def test_estimators_windows_and_normalisation_run_on_the_device_of_the_data(put, rng):
    pytest.importorskip("array_api_compat")
    from ildfv import FisherVector, GaussianMixture
    from ildfv.scans.windows import windowed

    parameters = mixture(rng, 8, 16)
    x = descriptors(rng, parameters, 6, 400)
    given = GaussianMixture.from_parameters(*parameters)
    ours, theirs = (FisherVector(given, improved=True).transform(a) for a in (put(x), x))
    assert type(ours) is type(put(x))
    assert np.allclose(host([ours])[0], theirs, rtol=1e-3, atol=1e-5)

    settings = {"n_components": 8, "max_iter": 5, "random_state": 0, "weights_init": parameters[0]}
    settings |= {"means_init": parameters[1], "variances_init": parameters[2]}
    on_gpu, on_cpu = (GaussianMixture(**settings).fit(a.reshape(-1, 16)) for a in (put(x), x))
    assert np.allclose(on_gpu.means_, on_cpu.means_, rtol=1e-5, atol=1e-6)

    for dtype in (np.float32, np.int16):
        hu = rng.integers(-1500, 500, (2, 512, 400)).astype(dtype)
        assert np.array_equal(host([windowed(put(hu))])[0], windowed(hu))


class Foreign:
    """An array of neither torch nor CuPy."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __array_namespace__(self):
        return SimpleNamespace(from_dlpack=Foreign)


def test_arrays_of_other_libraries_are_converted_both_ways(put, rng):
    parameters = mixture(rng, 32, 64)
    x = descriptors(rng, parameters, 4, 700)
    found = kernels.moments(Foreign(put(x)), GivenMixture(*parameters))
    assert {type(a) for a in found} == {Foreign}
    assert max(distances(host([a.array for a in found]), reference.moments(x, *parameters))) < 1e-5


class GivenMixture(NamedTuple):
    weights_: np.ndarray
    means_: np.ndarray
    variances_: np.ndarray


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_a_map_stream_on_a_gpu_agrees(way, rng):
    pytest.importorskip("array_api_compat")
    from ildfv.streaming.maps import MapStream, batches
    from ildfv.train.activations import Activations
    from ildfv.train.networks import build

    pixels = rng.integers(0, 256, (50, 3, 224, 224), dtype=np.uint8)
    source = SimpleNamespace(starts=np.array([0, 30, 50]), images=lambda rows: pixels[rows])
    activations, parameters = Activations(build().to("cuda:0"), "conv1"), mixture(rng, 32, 64)

    def then(maps):
        return host(moments.moments(maps, *parameters))

    cut = batches(source, np.arange(50), 8)
    found = list(MapStream(source, activations, cut, then=then))
    assert len(found) == len(cut) == 7
    for rows, result in zip(cut, found, strict=True):
        expected = reference.moments(activations(pixels[rows]).cpu().numpy(), *parameters)
        assert max(distances(result, expected)) < 1e-4  # cuDNN may choose another convolution within a graph
    assert activations.bytes_per_slice() > 64 * 54 * 54 * 4
