"""Weights of descriptors on a GPU, with the emulated kernels, against the reference."""

import numpy as np
import pytest
from emulation import EmulatedDevice, EmulatedTorchDevice, OnDevice
from problems import channel_first, descriptors, distances, mixture

from ildfv.errors import InputError
from ildfv.kernels import Moments, cpu, reference
from ildfv.kernels.cuda import launches, moments


def computed(device, maps, parameters, weights, *, threshold=1e-6, pooled=False):
    on_device = [a.view(OnDevice) for a in maps] if isinstance(maps, list) else maps.view(OnDevice)
    options = {"threshold": threshold, "pooled": pooled, "descriptor_weights": weights}
    return Moments(*(np.asarray(a) for a in moments.compute(device, on_device, *parameters, **options)))


def agree(device, maps, parameters, weights, *, like=None, tolerance=1e-5, pooled=False):
    found = computed(device, maps, parameters, weights, pooled=pooled)
    like = maps if like is None else like
    expected = reference.moments(like, *parameters, pooled=pooled, descriptor_weights=weights)
    assert [np.shape(a) for a in found] == [np.shape(e) for e in expected]
    assert max(distances(found, expected)) < tolerance, distances(found, expected)
    return found


def drawn_weights(rng, b, n):
    """Weights in [0, 3], 40 % of them 0."""
    return np.where(rng.random((b, n)) < 0.4, 0.0, 3 * rng.random((b, n)))


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(("n", "d", "k"), [(1, 3, 5), (63, 64, 32), (65, 70, 33), (600, 6, 4), (1, 70, 40)])
@pytest.mark.parametrize("spread", [0.2, 3.0], ids=["soft", "peaky"])
def test_any_shape_agrees(device, rng, n, d, k, spread, pooled):
    parameters = mixture(rng, k, d, spread=spread)
    x, weights = descriptors(rng, parameters, 5, n), drawn_weights(rng, 5, n)
    weights[0, 0] = 2.5
    agree(device, x, parameters, weights, pooled=pooled)


@pytest.mark.parametrize("variant", launches.VARIANTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [0.2, 3.0], ids=["soft", "peaky"])
def test_all_variants_agree(device, rng, variant, dtype, spread):
    moments.set_variant(variant)
    parameters = mixture(rng, 37, 70, spread=spread)
    x, weights = descriptors(rng, parameters, 2, 150, dtype), drawn_weights(rng, 2, 150)
    agree(device, x, parameters, weights, tolerance=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("n", [1, 600])
@pytest.mark.parametrize("pooled", [False, True])
def test_weights_of_one_change_no_bits(device, rng, n, pooled):
    parameters = mixture(rng, 9, 17)
    x = descriptors(rng, parameters, 3, n)
    plain, weighted = (computed(device, x, parameters, w, pooled=pooled) for w in (None, np.ones((3, n))))
    assert all(map(np.array_equal, plain, weighted))


@pytest.mark.parametrize("variant", [None, *launches.VARIANTS])
@pytest.mark.parametrize("n", [1, 70])
def test_descriptors_of_weight_zero_may_have_any_values(device, rng, variant, n):
    parameters = mixture(rng, 33, 12, spread=0.3)
    x, weights = descriptors(rng, parameters, 6, n), drawn_weights(rng, 6, n)
    weights[0] = 0
    spoilt = np.where(weights[..., None] == 0, rng.choice([np.nan, np.inf, 1e30], x.shape), x).astype(np.float32)
    moments.set_variant(variant)
    plain, found = (computed(device, maps, parameters, weights) for maps in (x, spoilt))
    assert all(map(np.array_equal, plain, found))
    assert not any(a[0].any() for a in found)  # a map without other descriptors


@pytest.mark.parametrize("pooled", [False, True])
def test_layouts_and_ragged_maps_agree(device, rng, monkeypatch, pooled):
    parameters = mixture(rng, 5, 8)
    x, weights = descriptors(rng, parameters, 3, 600), drawn_weights(rng, 3, 600)
    ragged = [descriptors(rng, parameters, 1, n)[0] for n in (1, 700, 64)]
    own = [drawn_weights(rng, 1, len(a))[0] for a in ragged]
    own[0][:] = 1.5
    for room in (launches.ROUND_BYTES, 1):  # all maps in one round, and one map per round
        monkeypatch.setattr(launches, "ROUND_BYTES", room)
        agree(device, channel_first(x, 30), parameters, weights, like=x, pooled=pooled)
        agree(device, x[:, ::2], parameters, weights[:, ::2], pooled=pooled)
        agree(device, list(x), parameters, list(weights), pooled=pooled)
        agree(device, ragged, parameters, own, pooled=pooled)


def test_pooling_of_non_contiguous_maps_agrees(device, rng):
    parameters = mixture(rng, 3, 4)
    wide = descriptors(rng, parameters, 6, 70)
    weights = drawn_weights(rng, 3, 70)
    agree(device, wide[::2], parameters, weights, pooled=True)  # non-contiguous maps are read as a list


def test_out_of_memory_changes_no_bits(library, rng, monkeypatch):
    monkeypatch.setattr(launches, "GROUP", 2)
    parameters = mixture(rng, 3, 9)
    x, weights = descriptors(rng, parameters, 8, 1100), drawn_weights(rng, 8, 1100)
    for pooled in (False, True):
        whole = EmulatedDevice(library, room=1 << 30)
        expected = computed(whole, x, parameters, weights, pooled=pooled)
        results = sum(a.nbytes for a in expected) + 4 * len(x)
        short = EmulatedDevice(library, room=results + (whole.most - results) // 2)
        with pytest.warns(RuntimeWarning, match="out of device memory"):
            found = computed(short, x, parameters, weights, pooled=pooled)
        assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "weights must be finite and at least 0, got nan for descriptor 3 of map 1"),
        (np.inf, "weights must be finite and at least 0, got inf for descriptor 3 of map 1"),
        (-0.5, "weights must be finite and at least 0, got -0.5 for descriptor 3 of map 1"),
        (1e300, r"weights must be below 3e\+38 for float32 maps, got a larger one in map 1"),
    ],
)
@pytest.mark.parametrize("ragged", [False, True])
def test_invalid_weights_are_refused(device, rng, value, message, ragged):
    parameters = mixture(rng, 4, 6)
    x, weights = descriptors(rng, parameters, 2, 10), np.ones((2, 10))
    weights[1, 3] = value
    with pytest.raises(InputError, match=message):
        computed(device, list(x) if ragged else x, parameters, list(weights) if ragged else weights)
    assert device.launched == []


def test_weights_of_another_shape_are_refused(device, rng):
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 2, 10)
    with pytest.raises(InputError, match=r"one value per descriptor \(10 in map 0\), got shape \(9,\)"):
        computed(device, x, parameters, np.ones((2, 9)))
    with pytest.raises(InputError, match=r"weights must have one entry per map \(2\), got 3"):
        computed(device, x, parameters, np.ones((3, 10)))


@pytest.mark.parametrize("channels", [False, True])
def test_a_non_finite_value_with_nonzero_weight_is_located(device, rng, channels):
    parameters = mixture(rng, 4, 6)
    x, weights = descriptors(rng, parameters, 3, 70), np.ones((3, 70))
    weights[0, 5] = 0
    x[0, 5] = np.nan  # has no effect, as its weight is 0
    x[2, 9, 1] = np.nan
    for pooled in (False, True):
        with pytest.raises(InputError, match="NaN or infinity in map 2"):
            computed(device, channel_first(x, 10) if channels else x, parameters, weights, pooled=pooled)


def test_squares_beyond_float32_are_computed_in_double(device, rng):
    parameters = mixture(rng, 2, 3)
    x, weights = descriptors(rng, parameters, 2, 10), drawn_weights(rng, 2, 10)
    x[1, 3], weights[1, 3] = 1e20, 0.5
    x[0, 2], weights[0, 2] = np.nan, 0
    agree(device, x, parameters, weights, pooled=True)


def test_torch_tensors_as_maps_and_weights_agree(library, rng):
    torch = pytest.importorskip("torch")
    device = EmulatedTorchDevice(library)
    parameters = mixture(rng, 5, 8)
    x, weights = descriptors(rng, parameters, 2, 48), drawn_weights(rng, 2, 48)
    expected = cpu.moments(x, *parameters, descriptor_weights=weights)
    for maps, given in (
        (torch.from_numpy(x), torch.from_numpy(weights)),
        (list(torch.from_numpy(x)), list(torch.from_numpy(weights).float())),
    ):
        found = moments.compute(device, maps, *parameters, threshold=1e-6, pooled=False, descriptor_weights=given)
        assert max(distances([a.numpy() for a in found], expected)) < 1e-5
