"""The CUDA kernels, run on the CPU, agree with the specification. Outputs and shared memory are NaN initially."""

import inspect
import warnings

import numpy as np
import pytest
from emulation import EmulatedDevice, OnDevice
from problems import bfloat16_bits, channel_first, descriptors, distances, from_bits, mixture

from ildfv.errors import InputError
from ildfv.kernels import cpu, reference
from ildfv.kernels.cuda import launches, moments, selftest
from ildfv.kernels.reference import Moments
from ildfv.kernels.tables import BFLOAT16

pytestmark = pytest.mark.slow

VARIANTS = launches.VARIANTS


def computed(device, maps, parameters, *, threshold=1e-6, pooled=False):
    """Uploads the maps to the device, computes their moments there and downloads them."""
    on_device = [a.view(OnDevice) for a in maps] if isinstance(maps, list) else maps.view(OnDevice)
    result = moments.compute(device, on_device, *parameters, threshold=threshold, pooled=pooled)
    return Moments(*(np.asarray(a) for a in result))


def agree(device, maps, parameters, *, like=None, tolerance=1e-5, **options):
    options = {"threshold": 1e-6, "pooled": False, **options}
    result = computed(device, maps, parameters, **options)
    expected = reference.moments(maps if like is None else like, *parameters, **options)
    assert all(np.shape(a) == np.shape(e) for a, e in zip(result, expected, strict=True))
    assert max(distances(result, expected)) < tolerance, distances(result, expected)
    return result


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 130])
@pytest.mark.parametrize(("d", "k"), [(1, 1), (3, 5), (64, 32), (65, 33)])
def test_any_shape_agrees(device, rng, n, d, k):
    parameters = mixture(rng, k, d)
    agree(device, descriptors(rng, parameters, 2, n), parameters)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("spread", [0.2, 3.0], ids=["soft", "peaky"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_variant_agrees(device, rng, variant, spread, dtype):
    parameters = mixture(rng, 37, 70, spread=spread)
    moments.set_variant(variant)
    agree(
        device,
        descriptors(rng, parameters, 2, 150, dtype),
        parameters,
        tolerance=1e-5 if dtype == np.float32 else 1e-12,
    )
    variant = variant if dtype == np.float32 else variant.removeprefix(launches.TENSOR)
    assert device.launched == [f"moments_{variant}_{np.dtype(dtype).name}"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_channel_first_maps_give_the_bits_of_contiguous_rows(device, rng, variant):
    parameters = mixture(rng, 20, 48)
    x = descriptors(rng, parameters, 3, 84)
    moments.set_variant(variant)
    rows = agree(device, x, parameters)
    maps = agree(device, channel_first(x, 12), parameters)
    assert all(np.array_equal(a, b) for a, b in zip(rows, maps, strict=True))


@pytest.mark.parametrize("kind", ["", launches.TENSOR])
def test_variants_give_the_same_bits(device, rng, kind):
    parameters = mixture(rng, 40, 70, spread=0.7)
    x = descriptors(rng, parameters, 1, 140)
    results = []
    for place in launches.PLACES:
        moments.set_variant(kind + place)
        results.append(computed(device, x, parameters, pooled=False))
    assert all(np.array_equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("threshold", [0.0, 1e-6, 0.3])
@pytest.mark.parametrize("spread", [0.2, 3.0], ids=["soft", "peaky"])
def test_any_threshold_agrees(device, rng, threshold, spread):
    parameters = mixture(rng, 16, 24, spread=spread)
    x = descriptors(rng, parameters, 2, 90)
    posteriors = reference.posteriors(x.reshape(-1, 24).astype(float), *parameters)[0]
    assert (
        np.abs(posteriors - threshold)[posteriors > 0].min() > 1e-7 or threshold < 1e-3
    )  # no posterior is close to the threshold
    agree(device, x, parameters, threshold=threshold)


@pytest.mark.parametrize("n", [1, 600])
@pytest.mark.parametrize("element", ["float16", "bfloat16", "uint8", "float64"])
def test_every_element_type_agrees(device, rng, element, n):
    parameters = mixture(rng, 8, 40)
    x = descriptors(rng, parameters, 2 if n > 1 else 11, n)
    if element == "bfloat16":
        bits = bfloat16_bits(x)
        maps, like = bits.view(BFLOAT16), from_bits(bits)
    elif element == "uint8":
        parameters = (parameters[0], parameters[1] * 30 + 128, parameters[2] * 900)
        maps = like = np.clip(descriptors(rng, parameters, *x.shape[:2]), 0, 255).astype(np.uint8)
    else:
        maps = like = x.astype(element)
    result = agree(device, maps, parameters, like=like, tolerance=1e-12 if element == "float64" else 1e-5)
    assert result.s1.dtype == (np.float64 if element == "float64" else np.float32)


@pytest.mark.parametrize("maps_first", [False, True], ids=["rows", "channel-first"])
@pytest.mark.parametrize("n", [1, 36, 600])
def test_pooled_moments_agree_and_are_float64(device, rng, n, maps_first):
    parameters = mixture(rng, 6, 10)
    x = descriptors(rng, parameters, 5, n)
    result = agree(device, channel_first(x, min(n, 6)) if maps_first else x, parameters, like=x, pooled=True)
    assert all(a.dtype == np.float64 for a in result)


def test_ragged_maps_give_the_bits_of_single_maps(device, rng):
    parameters = mixture(rng, 9, 17)
    maps = [descriptors(rng, parameters, 1, n)[0] for n in (1, 700, 64, 5)]
    maps[1] = np.asfortranarray(maps[1])
    together = agree(device, maps, parameters)
    for i, one in enumerate(maps[1:], start=1):
        alone = computed(device, one[None], parameters, pooled=False)
        assert all(np.array_equal(a[0], b[i]) for a, b in zip(alone, together, strict=True))


def test_a_map_gives_the_same_bits_in_any_batch(device, rng, monkeypatch):
    parameters = mixture(rng, 5, 8)
    x = descriptors(rng, parameters, 4, 600)
    together = computed(device, x, parameters, pooled=False)
    monkeypatch.setattr(launches, "ROUND_BYTES", 1)  # one map per round
    apart = computed(device, x, parameters, pooled=False)
    assert all(np.array_equal(a, b) for a, b in zip(together, apart, strict=True))


KINDS = {False: ["maps", "ragged", "huge", "singles"], True: ["maps", "ragged", "huge", "one run"]}


@pytest.mark.parametrize(("kind", "pooled"), [(kind, pooled) for pooled, kinds in KINDS.items() for kind in kinds])
def test_out_of_memory_halves_the_rounds_and_changes_no_bits(library, rng, monkeypatch, kind, pooled):
    monkeypatch.setattr(launches, "GROUP", 2)
    parameters = mixture(rng, 3, 9)
    shape = {"singles": (500, 1), "one run": (1, 9000)}.get(kind, (8, 1100))
    x = descriptors(rng, parameters, *shape)
    maps = list(x) if kind == "ragged" else x
    moments.set_variant("huge" if kind == "huge" else None)
    whole = EmulatedDevice(library, room=1 << 30)
    expected = computed(whole, maps, parameters, pooled=pooled)
    assert whole.failures == 0
    results = sum(a.nbytes for a in expected) + 4 * len(x)
    short = EmulatedDevice(library, room=results + (whole.most - results) // 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert all(map(np.array_equal, computed(short, maps, parameters, pooled=pooled), expected))
    assert 0 < short.failures == sum("out of device memory" in str(one.message) for one in caught)
    failures = short.failures
    computed(short, maps, parameters, pooled=pooled)
    assert short.failures == failures  # the next call starts with the reduced size


def test_strided_views_are_read_in_place(device, rng):
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 3, 40)
    wide = np.zeros((6, 80, 12), dtype=np.float32)
    wide[::2, ::2, ::2] = x
    agree(device, wide[::2, ::2, ::2], parameters, like=x)
    agree(device, np.ascontiguousarray(x.transpose(1, 2, 0)).transpose(2, 0, 1), parameters, like=x)


@pytest.mark.parametrize("apart", ["maps", "descriptors", "dimensions"])
@pytest.mark.parametrize("pooled", [False, True])
def test_offsets_beyond_32_bits_are_read(device, rng, apart, pooled):
    far = (1 << 32) + 64
    memory = np.zeros(far + 4096, dtype=np.uint8)  # untouched pages take no memory
    shape = {"maps": (2, 70, 4), "descriptors": (3, 2, 4), "dimensions": (3, 70, 2)}[apart]
    strides = {"maps": (far, 4, 1), "descriptors": (4, far, 1), "dimensions": (70, 1, far)}[apart]
    maps = np.lib.stride_tricks.as_strided(memory, shape, strides)
    maps[...] = rng.integers(0, 256, shape)
    weights, means, variances = mixture(rng, 5, shape[2])
    parameters = weights, means * 30 + 128, variances * 900
    agree(device, maps, parameters, like=maps.copy(), pooled=pooled)


@pytest.mark.parametrize(("d", "k"), [(4096, 4), (300, 33), (64, 256)])
def test_single_descriptors_agree(device, rng, d, k):
    parameters = mixture(rng, k, d)
    x = descriptors(rng, parameters, 70 if d < 4096 else 9, 1)
    agree(device, x, parameters)
    assert device.launched == ["score_singles_float32", "spread_singles_float32"]
    maps = x.transpose(0, 2, 1)[..., None]  # (b, d, 1, 1), the layout of fc6
    agree(device, maps, parameters, like=x)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", launches.TENSOR])
def test_the_maximum_dimensions_and_components_agree(device, rng, kind):
    moments.set_variant(kind + "huge")
    parameters = mixture(rng, launches.MAX_K, launches.MAX_D)
    agree(device, descriptors(rng, parameters, 1, 3), parameters, tolerance=3e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_many_dimensions_agree(device, rng, variant):
    moments.set_variant(variant)
    parameters = mixture(rng, 3, 4096)
    agree(device, descriptors(rng, parameters, 1, 40), parameters)


@pytest.mark.parametrize("variant", VARIANTS)
def test_many_components_agree(device, rng, variant):
    sizes = (launches.MAX_K, 700, 500)
    k = next(k for k in sizes if launches.shared_bytes(variant, "float32", k, 5) <= device.shared_limit)
    moments.set_variant(variant)
    parameters = mixture(rng, k, 5)
    agree(device, descriptors(rng, parameters, 1, 70), parameters, tolerance=2e-5)


def test_the_mixture_cache_detects_in_place_changes(device, rng):
    weights, means, variances = mixture(rng, 4, 6)
    x = descriptors(rng, (weights, means, variances), 1, 50)
    agree(device, x, (weights, means, variances))
    means += 1.0  # changes the array that was cached
    agree(device, x, (weights, means, variances))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((0, 5, 6), np.float32), "maps must contain at least one map"),
        (np.zeros((2, 0, 6), np.float32), "each map must contain at least one descriptor, got none in map 0"),
        (np.zeros((2, 5, 7), np.float32), "descriptors must have 6 dimensions like the mixture, got 7"),
        (np.zeros((2, 5), np.float32), r"maps must have shape \(b, n, d\) or \(b, d, h, w\)"),
        (np.zeros((2, 5, 6), np.int32), "maps must be float32, float64, float16, bfloat16, uint8, got int32"),
        ([], "maps must contain at least one map, got an empty batch"),
        ([np.zeros((5, 6), np.float32), np.zeros((0, 6), np.float32)], "got none in map 1"),
        ([np.zeros((5, 6), np.float32), np.zeros((5, 6))], "maps must have one dtype, got float32, float64"),
    ],
)
def test_bad_maps_are_refused(device, rng, maps, message):
    with pytest.raises(InputError, match=message):
        computed(device, maps, mixture(rng, 4, 6))


def test_mixtures_beyond_the_size_limits_are_refused(device, rng):
    with pytest.raises(InputError, match="d ≤ 4096 and k ≤ 1024, got d = 4097, k = 2"):
        computed(device, np.zeros((1, 1, 4097), np.float32), mixture(rng, 2, 4097))


def test_cpu_and_cuda_have_the_same_signature():
    assert str(inspect.signature(cpu.moments)) == str(inspect.signature(moments.moments))
    ours, theirs = (inspect.signature(f).parameters for f in (moments.moments, reference.moments))
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


def test_cpu_and_cuda_agree(device, rng):
    parameters = mixture(rng, 32, 64)
    x = descriptors(rng, parameters, 2, 729)
    ours = computed(device, x, parameters, pooled=False)
    assert max(distances(ours, cpu.moments(x, *parameters))) < 1e-5


def test_the_self_test_names_device_and_build_and_detects_wrong_results(device, monkeypatch):
    monkeypatch.setattr(selftest, "first_device", lambda: device)
    monkeypatch.setattr(selftest, "build_kind", lambda: "nvrtc")
    text = selftest.run()
    assert text.startswith("an emulated device, with tensor cores: compiled by NVRTC at first use, differs from")
    both = ("moments_resident_float32", "moments_tensor_resident_float32")
    others = ("fisher_float32", "finish_float32_float64", "finish_float64_float64", "m_step")
    assert [name for name in device.launched if name.startswith("moments")] == [both[0]] * 2 + [both[1]] * 2
    assert set(device.launched) == {*both, *others}
    right = moments.compute

    def wrong(*given, **options):
        s0, s1, s2, log_likelihood = right(*given, **options)
        return Moments(s0, s2, s1, log_likelihood)

    def invalid(*given, **options):
        found = right(*given, **options)
        return found._replace(s2=device.upload(np.full(found.s2.shape, np.nan, found.s2.dtype)))

    for faulty in (wrong, invalid):
        monkeypatch.setattr(moments, "compute", faulty)
        with pytest.raises(RuntimeError, match="differ from the specification by"):
            selftest.run()
