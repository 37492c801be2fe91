"""Tests on a real GPU: `pytest -m gpu`. Inputs differ in every run (the seed is printed), and outputs start as NaN."""

import os
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from problems import (
    bfloat16_bits,
    channel_first,
    descriptors,
    distances,
    from_bits,
    mixture,
    room_for_half,
    scarce_batch,
)

from ildfv import kernels
from ildfv.errors import InputError
from ildfv.kernels import Moments, cpu, reference
from ildfv.kernels.cuda import build, contributions, em, fisher, launches, memory, moments, oom, run
from ildfv.kernels.cuda import device as devices
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.streaming import transfer

try:
    import torch
except ImportError:
    torch = None
try:
    import cupy
except ImportError:
    cupy = None


def _devices() -> int:
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.device_count()
    return cupy.cuda.runtime.getDeviceCount() if cupy is not None and cupy.cuda.is_available() else 0


needs_gpu = pytest.mark.skipif(_devices() == 0, reason="needs a CUDA device and torch or CuPy built for it")
pytestmark = [pytest.mark.gpu, needs_gpu]


@pytest.fixture
def rng():
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed", seed)
    return np.random.default_rng(seed)


@pytest.fixture(params=["nvrtc", "nvcc"])
def way(request, monkeypatch):
    """The name of each installed build of the kernels."""
    monkeypatch.setenv("ILDFV_CUDA_WAY", request.param)
    devices._torch_device.cache_clear()
    devices._cupy_device.cache_clear()
    try:
        assert build.build_kind() == request.param
    except ImportError as error:
        pytest.skip(str(error))
    yield request.param
    devices._torch_device.cache_clear()
    devices._cupy_device.cache_clear()


@pytest.fixture(params=["torch", "cupy"])
def put(request, way, monkeypatch):
    """A function from NumPy arrays to arrays on the device, whose new arrays are filled with NaN."""
    kind = devices.TorchDevice if request.param == "torch" else devices.CupyDevice
    if request.param == "torch" and (torch is None or not torch.cuda.is_available()):
        pytest.skip("needs torch with CUDA")
    if request.param == "cupy" and cupy is None:
        pytest.skip("needs CuPy")
    empty = kind.empty

    def poisoned(self, shape, dtype):
        array = empty(self, shape, dtype)
        array[...] = float("nan") if "float" in dtype else 0xA5
        return array

    monkeypatch.setattr(kind, "empty", poisoned)
    if request.param == "torch":
        return lambda a: torch.from_numpy(a).cuda()
    return cupy.asarray


def host(result):
    return [a.cpu().numpy() if hasattr(a, "cpu") else a.get() for a in result]


def force(variant, real, k, d):
    """Sets the variant; skips the test if the variant needs more shared memory than the device has."""
    limit = devices.first_device().shared_limit
    kind = variant if real == "float32" else variant.removeprefix(launches.TENSOR)
    if kind not in launches.fitting_variants(real, k, d, limit):
        pytest.skip(f"{kind} needs {launches.shared_bytes(kind, real, k, d)} bytes of shared memory, of {limit}")
    moments.set_variant(variant)


def agree(maps, like, parameters, *, tolerance=1e-5, with_cpu=True, **options):
    result = moments.moments(maps, *parameters, **options)
    first = maps[0] if isinstance(maps, list) else maps
    assert type(result.s1) is type(first)
    assert str(result.s1.device) == str(first.device)
    result = host(result)
    expected = reference.moments(like, *parameters, **options)
    assert [np.shape(a) for a in result] == [np.shape(e) for e in expected]
    assert max(distances(result, expected)) < tolerance, distances(result, expected)
    if with_cpu:
        assert max(distances(result, cpu.moments(like, *parameters, **options))) < 2 * tolerance
    return result


SHAPES = [(8, 2916, 64, 32), (16, 729, 256, 32), (32, 169, 256, 32), (2, 2916, 64, 256), (64, 1, 4096, 32)]
ODD = [(1, 1, 1, 1), (3, 65, 65, 33), (2, 1000, 3, 7), (70, 1, 300, 100), (1, 70, 4096, 9), (1, 100, 5, 1024)]


@pytest.mark.parametrize(("b", "n", "d", "k"), SHAPES + ODD)
@pytest.mark.parametrize("spread", [0.3, 3.0], ids=["soft", "peaky"])
def test_every_shape_agrees(put, rng, b, n, d, k, spread):
    parameters = mixture(rng, k, d, spread=spread)
    x = descriptors(rng, parameters, b, n)
    tolerance = 1e-4 if d == 4096 else 1e-5
    rows = agree(put(x), x, parameters, tolerance=tolerance)
    width = 54 if n == 2916 else 27 if n == 729 else 13 if n == 169 else 1
    maps = agree(put(channel_first(x, width)), x, parameters, tolerance=tolerance)
    assert all(np.array_equal(a, b) for a, b in zip(rows, maps, strict=True))


def of_element_type(put, rng, element, b, n, d, k):
    """Maps of the element on the device, their values, and a mixture for them. CuPy has no bfloat16 of its own."""
    parameters = mixture(rng, k, d)
    if element == "uint8":
        parameters = (parameters[0], parameters[1] * 30 + 128, parameters[2] * 900)
        x = np.clip(descriptors(rng, parameters, b, n), 0, 255).astype(np.uint8)
        return put(x), x, parameters
    x = descriptors(rng, parameters, b, n)
    if element == "bfloat16":
        on_device = put(from_bits(bfloat16_bits(x)))
        if type(on_device).__module__ != "torch":
            pytest.skip("CuPy has no bfloat16 without ml_dtypes")
        return on_device.to(torch.bfloat16), from_bits(bfloat16_bits(x)), parameters
    return put(x.astype(element)), x.astype(element), parameters


@pytest.mark.parametrize(("b", "n", "d", "k"), SHAPES + ODD)
@pytest.mark.parametrize("element", ["float64", "float16", "bfloat16", "uint8"])
def test_every_element_type_agrees_at_every_shape(put, rng, element, b, n, d, k):
    maps, like, parameters = of_element_type(put, rng, element, min(b, 4), n, d, k)
    tolerance = 1e-11 if element == "float64" else 1e-4 if d == 4096 else 1e-5
    agree(maps, like, parameters, tolerance=tolerance, with_cpu=element != "bfloat16")
    agree(maps, like, parameters, tolerance=tolerance, with_cpu=element != "bfloat16", pooled=True)


@pytest.mark.parametrize("variant", launches.VARIANTS)
@pytest.mark.parametrize("element", ["float16", "bfloat16", "uint8"])
def test_every_variant_reads_every_element_type(put, rng, variant, element):
    force(variant, "float32", 37, 70)
    maps, like, parameters = of_element_type(put, rng, element, 3, 700, 70, 37)
    agree(maps, like, parameters, with_cpu=element != "bfloat16")


@pytest.mark.parametrize("options", [{}, {"improved": False, "order": "moment", "weight_part": True}])
@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize(("b", "k", "d"), [(5, 32, 64), (2, 7, 4096), (300, 33, 3)])
def test_fisher_vectors_agree(put, rng, b, k, d, real, options):
    n, weights = rng.integers(1, 900, b).astype(np.float64), rng.dirichlet(np.ones(k))
    s0 = (rng.uniform(0, 1, (b, k)) * n[:, None] / k).astype(real)
    s1, s2 = (rng.normal(size=(b, k, d)).astype(real) for _ in range(2))
    given = Moments(s0, s1, s2, np.zeros(b, real))
    found = fisher.vectors(Moments(*(put(a) for a in given)), n, weights, **options)
    expected = reference.vectors(given, n, weights, **options)
    assert distances(host([found]), [expected])[0] < (1e-6 if real == "float32" else 1e-13)


@pytest.mark.parametrize("inertia", [0.0, 70.5])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (32, 64), (9, 4096)])
def test_the_m_step_gives_the_bits_of_numpy(put, rng, k, d, inertia):
    sums = rng.uniform(0, 90, k), rng.normal(size=(k, d)) * 40, rng.uniform(60, 150, (k, d))
    parameters = mixture(rng, k, d)
    found = em.m_step(*(put(a) for a in sums), *parameters, inertia=inertia)
    s0, prior = sums[0] + inertia * parameters[0], (inertia * parameters[0])[:, None]
    mass = np.maximum(s0, reference.MIN_MASS)[:, None]
    shift = sums[1] / mass
    means = parameters[1] + np.sqrt(parameters[2]) * shift
    variances = parameters[2] * ((sums[2] + prior) / mass - shift**2)
    assert all(map(np.array_equal, found, (s0, means, variances)))


@pytest.mark.parametrize("variant", launches.VARIANTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_variant_agrees(put, rng, variant, dtype):
    force(variant, np.dtype(dtype).name, 37, 70)
    parameters = mixture(rng, 37, 70, spread=0.7)
    x = descriptors(rng, parameters, 4, 1500, dtype)
    agree(put(x), x, parameters, tolerance=1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("n", [1, 169, 2916])
def test_pooled_moments_agree(put, rng, n):
    parameters = mixture(rng, 32, 64)
    x = descriptors(rng, parameters, 40, n)
    agree(put(x), x, parameters, pooled=True)
    agree(put(channel_first(x, 1)), x, parameters, pooled=True)


def test_ragged_maps_agree(put, rng):
    parameters = mixture(rng, 32, 64)
    maps = [descriptors(rng, parameters, 1, n)[0] for n in (1, 2916, 64, 700)]
    agree([put(a) for a in maps], maps, parameters)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("n", [1, 700])
def test_weighted_descriptors_agree(put, rng, n, pooled):
    parameters = mixture(rng, 37, 70, spread=0.7)
    x = descriptors(rng, parameters, 5, n)
    weights = np.where(rng.random((5, n)) < 0.4, 0.0, 3 * rng.random((5, n)))
    weights[0] = 0.5
    x[weights == 0] = np.nan
    for variant in (None, *launches.fitting_variants("float32", 37, 70, devices.first_device().shared_limit)):
        moments.set_variant(variant)
        agree(put(x), x, parameters, pooled=pooled, descriptor_weights=weights)
    agree([put(a) for a in x], x, parameters, pooled=pooled, descriptor_weights=list(weights))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d", "k"), [(2916, 64, 32), (70, 5, 1024), (1, 300, 9)])
def test_contributions_agree(put, rng, n, d, k, dtype):
    parameters = mixture(rng, k, d)
    x = descriptors(rng, parameters, 3, n, dtype)
    weights = np.where(rng.random((3, n)) < 0.4, 0.0, 3 * rng.random((3, n)))
    first, second = rng.normal(size=(2, 3, 5, k, d))
    for given in (None, weights):
        expected = reference.contributions(x, *parameters, first, second, descriptor_weights=given)
        found = contributions.contributions(put(x), *parameters, first, second, descriptor_weights=given)
        assert type(found[0]) is type(put(x))
        for a, e in zip(host(found), expected, strict=True):
            assert np.linalg.norm(a - e) <= (1e-4 if dtype == np.float32 else 1e-11) * np.linalg.norm(e)


def test_equal_runs_give_equal_bits(put, rng):
    parameters = mixture(rng, 32, 64)
    x = put(descriptors(rng, parameters, 16, 2916))
    first = host(moments.moments(x, *parameters))
    for _ in range(20):
        assert all(np.array_equal(a, b) for a, b in zip(first, host(moments.moments(x, *parameters)), strict=True))
    assert all(
        np.array_equal(a[3:5], b) for a, b in zip(first, host(moments.moments(x[3:5], *parameters)), strict=True)
    )


def test_a_non_finite_value_is_located(put, rng):
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 3, 700)
    x[1, 600, 2] = np.nan
    with pytest.raises(InputError, match="in map 1"):
        moments.moments(put(x), *parameters)


def test_squares_beyond_float32_are_computed_in_double(put, rng):
    parameters = mixture(rng, 2, 3)
    x = descriptors(rng, parameters, 2, 10)
    x[1, 3] = 1e20
    agree(put(x), x, parameters, pooled=True)


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
    if _devices() < 2:
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
    assert activations.bytes_of_a_slice() > 64 * 54 * 54 * 4
