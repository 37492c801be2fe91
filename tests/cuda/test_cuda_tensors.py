"""torch tensors as input and output, on the CPU with the emulated kernels."""

from collections import Counter

import numpy as np
import pytest
from emulation import EmulatedTorchDevice
from problems import bfloat16_bits, channel_first, descriptors, distances, from_bits, mixture

from ildfv.errors import InputError
from ildfv.kernels import reference
from ildfv.kernels.cuda import device as devices
from ildfv.kernels.cuda import em, fisher, launches, moments, parameters
from ildfv.kernels.cuda.parameters import PreparedMixture

torch = pytest.importorskip("torch")


@pytest.fixture
def device(library):
    return EmulatedTorchDevice(library)


def agree(device, maps, like, parameters, *, pooled=False, dtype=torch.float32):
    result = moments.compute(device, maps, *parameters, threshold=1e-6, pooled=pooled)
    expected = reference.moments(like, *parameters, pooled=pooled)
    assert [tuple(a.shape) for a in result] == [np.shape(e) for e in expected]
    assert {a.dtype for a in result} == {torch.float64 if pooled else dtype}
    assert max(distances([a.numpy() for a in result], expected)) < 1e-5


@pytest.mark.parametrize("n", [1, 84, 600])
@pytest.mark.parametrize("pooled", [False, True])
def test_any_layout_agrees(device, rng, n, pooled):
    parameters = mixture(rng, 7, 12)
    x = descriptors(rng, parameters, 3, n)
    maps = channel_first(x, min(n, 12))
    agree(device, torch.from_numpy(x), x, parameters, pooled=pooled)
    agree(device, torch.from_numpy(maps), x, parameters, pooled=pooled)
    agree(device, torch.from_numpy(maps).to(memory_format=torch.channels_last), x, parameters, pooled=pooled)
    agree(device, [torch.from_numpy(a) for a in x], x, parameters, pooled=pooled)


def test_maps_with_swapped_pixel_strides_agree(device, rng):
    parameters = mixture(rng, 7, 12)
    x = descriptors(rng, parameters, 3, 84)
    turned = torch.from_numpy(channel_first(x, 12)).transpose(2, 3).contiguous().transpose(2, 3)
    assert not turned.is_contiguous()
    agree(device, turned, x, parameters)


@pytest.mark.parametrize("element", ["float64", "float16", "bfloat16", "uint8"])
def test_every_element_type_agrees(device, rng, element):
    weights, means, variances = mixture(rng, 5, 9)
    parameters = weights, means * 30 + 128, variances * 900
    x = from_bits(bfloat16_bits(np.clip(descriptors(rng, parameters, 2, 90), 0, 255).round()))
    maps = torch.from_numpy(x).to(getattr(torch, element))
    like = maps.double().numpy()
    agree(device, maps, like, parameters, dtype=torch.float64 if element == "float64" else torch.float32)


def test_parameters_may_be_tensors(device, rng):
    parameters = mixture(rng, 5, 9)
    x = descriptors(rng, parameters, 2, 40)
    tensors = [torch.from_numpy(a).requires_grad_() for a in parameters]
    found = moments.compute(device, torch.from_numpy(x), *tensors, threshold=1e-6, pooled=False)
    assert max(distances([a.numpy() for a in found], reference.moments(x, *parameters))) < 1e-5


def test_arrays_that_are_not_on_the_device_are_refused(device, rng):
    parameters = mixture(rng, 5, 9)
    x = descriptors(rng, parameters, 2, 40)
    here, elsewhere = torch.from_numpy(x[0]), torch.empty((40, 9), device="meta")
    for other, name in ((elsewhere, "torch.Tensor on meta"), (x[1], "numpy.ndarray")):
        with pytest.raises(InputError, match=f"arrays must all be torch tensors on cpu, got {name}"):
            moments.compute(device, [here, other], *parameters, threshold=1e-6, pooled=False)
    sums = moments.compute(device, torch.from_numpy(x), *parameters, threshold=1e-6, pooled=False)
    with pytest.raises(InputError, match="arrays must all be torch tensors on cpu, got torch"):
        fisher.compute(
            device, [sums.s0, sums.s1, sums.s2.to("meta")], np.full(2, 40.0), parameters[0],
            improved=True, order="component", weight_part=False,
        )  # fmt: skip


def test_sums_of_other_dtypes_or_shapes_are_refused(device, rng):
    parameters = mixture(rng, 5, 9)
    weights = parameters[0]
    x = torch.from_numpy(descriptors(rng, parameters, 2, 40))
    separate, pooled = (
        list(moments.compute(device, x, *parameters, threshold=1e-6, pooled=pooled)[:3]) for pooled in (False, True)
    )
    step = {"inertia": 0.0}
    with pytest.raises(InputError, match=r"s0 must be float64 \(moments with pooled=True\), got float32"):
        em.compute(device, [a[0] for a in separate], *parameters, **step)
    with pytest.raises(InputError, match=r"s1 must have shape \(5, 9\), got \(5, 8\)"):
        em.compute(device, [pooled[0], pooled[1][:, :8], pooled[2]], *parameters, **step)
    kind = {"improved": True, "order": "component", "weight_part": False}
    counts = np.full(2, 40.0)
    with pytest.raises(InputError, match="s2 must be float32 like s1, got float64"):
        fisher.compute(device, [*separate[:2], separate[2].double()], counts, weights, **kind)
    with pytest.raises(InputError, match="moments must be float32 or float64, got float16"):
        fisher.compute(device, [a.half() for a in separate], counts, weights, **kind)
    with pytest.raises(InputError, match=r"counts must have shape \(2,\)"):
        fisher.compute(device, separate, np.full(3, 40.0), weights, **kind)
    with pytest.raises(InputError, match=r"s1 must have shape \(b, 4, d\)"):
        fisher.compute(device, separate, counts, weights[:4], **kind)


def test_small_uploads_do_not_block_the_host(device, monkeypatch):
    copies, to = [], torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda *given, **options: copies.append(options) or to(*given, **options))
    small, large = np.arange(5.0), np.zeros(devices.PINNED_BYTES // 8 + 1)
    assert np.array_equal(device.upload(small).numpy(), small)
    assert (device.pinned, copies.pop()) == (1, {"non_blocking": True})  # from pageable memory the copy would block
    assert np.array_equal(device.upload(large).numpy(), large)
    assert (device.pinned, copies.pop()) == (1, {})


class Counting(EmulatedTorchDevice):
    """Counts the calls of each method of the device."""

    def __init__(self, library):
        super().__init__(library)
        self.counts = Counter()

    def __getattribute__(self, name):
        if name in ("describe", "empty", "upload", "download", "contiguous", "settle"):
            self.counts[name] += 1
        return super().__getattribute__(name)


@pytest.mark.parametrize("prepare", [False, True])
def test_a_mixture_is_checked_and_uploaded_once(library, rng, monkeypatch, prepare):
    device = Counting(library)
    weights, means, variances = mixture(rng, launches.TENSOR_K, 9)
    ready = PreparedMixture(weights, means, variances)
    arrays = ready.arrays if prepare else (weights, means, variances)
    maps = torch.from_numpy(descriptors(rng, (weights, means, variances), 2, 600))
    first = moments.compute(device, maps, *arrays, threshold=1e-6, pooled=False)
    assert device.counts["upload"] == 2  # one for the parameters, one for the parameters of tensor cores

    def refused(*given):
        raise AssertionError("prepared again")

    monkeypatch.setattr(parameters, "check_mixture", refused)
    if prepare:
        monkeypatch.setattr(PreparedMixture, "equals", refused)  # recognised by identity
    monkeypatch.setattr(parameters, "_exact", refused)
    device.counts.clear()
    second = moments.compute(device, maps, *arrays, threshold=1e-6, pooled=False)
    assert all(map(torch.equal, first, second))
    assert device.counts == {"describe": 1, "empty": 6, "download": 1}
    assert [name.partition("_")[0] for name in device.launched] == ["moments", "finish"] * 2


def test_mixtures_of_several_threads_stay_prepared(library, rng, monkeypatch):
    device = Counting(library)
    given = [mixture(rng, 5, 9) for _ in range(parameters.KEPT + 1)]
    x = torch.from_numpy(descriptors(rng, given[0], 1, 40))

    def uploads(mixtures):
        device.counts.clear()
        for one in mixtures:
            agree(device, x, x.numpy(), one)
        return device.counts["upload"]

    assert uploads(given[:-1] * 3) == parameters.KEPT
    assert uploads(given[-1:]) == 1  # replaces the least recently used mixture
    assert uploads(given[1:] * 2) == 0


def test_prepared_arrays_cannot_be_changed(rng):
    weights, means, variances = mixture(rng, 5, 9)
    ready = PreparedMixture(weights, means, variances)
    means += 1
    assert np.array_equal(ready.means_ + 1, means)
    with pytest.raises(ValueError, match="read-only"):
        ready.means_ += 1


def test_moments_computed_in_several_rounds_agree(device, rng, monkeypatch):
    monkeypatch.setattr(launches, "ROUND_BYTES", 1)
    parameters = mixture(rng, 5, 9)
    x = descriptors(rng, parameters, 3, 600)
    agree(device, torch.from_numpy(x), x, parameters)
    agree(device, torch.from_numpy(channel_first(x, 20)), x, parameters, pooled=True)


@pytest.mark.parametrize("n", [1, 600])
def test_non_finite_values_are_located_and_far_values_are_computed_in_double(device, rng, n):
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 3, n)
    x[1, 0] = 1e20
    agree(device, torch.from_numpy(x), x, parameters, pooled=True)
    x[2, n // 2, 5] = np.nan
    for maps, pooled in ((torch.from_numpy(x), False), (torch.from_numpy(x), True), ([torch.from_numpy(x[2])], False)):
        with pytest.raises(InputError, match=f"got NaN or infinity in map {0 if isinstance(maps, list) else 2}"):
            moments.compute(device, maps, *parameters, threshold=1e-6, pooled=pooled)
