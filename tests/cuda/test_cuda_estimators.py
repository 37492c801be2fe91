"""The Fisher vector and M step kernels, run on the CPU, agree with the array API code and the specification.

`everywhere` makes CPU tensors count as GPU arrays, so that the estimators use their GPU code.
"""

import inspect

import numpy as np
import pytest
from emulation import EmulatedTorchDevice, OnDevice
from problems import channel_first, descriptors, distances, mixture

from ildfv import FisherVector, GaussianMixture, kernels
from ildfv.estimators import em, fisher_vectors
from ildfv.kernels import Moments, reference
from ildfv.kernels.cuda import build, launches, moments
from ildfv.kernels.cuda import em as em_kernel
from ildfv.kernels.cuda import fisher as fisher_kernel

torch = pytest.importorskip("torch")
OPTIONS = [
    {"improved": improved, "order": order, "weight_part": weight_part}
    for improved in (False, True)
    for order in ("component", "moment")
    for weight_part in (False, True)
]


@pytest.fixture
def everywhere(library, monkeypatch):
    device = EmulatedTorchDevice(library)
    for module in (kernels, em, fisher_vectors):
        monkeypatch.setattr(module, "on_gpu", lambda a: isinstance(a, torch.Tensor))
    for module in (moments, em_kernel, fisher_kernel):
        monkeypatch.setattr(module, "device_of", lambda a: device)
    monkeypatch.setattr(build, "available", lambda: True)
    return device


def sums_of(rng, b, k, d, dtype):
    n = rng.integers(1, 900, b).astype(np.float64)
    s0 = rng.uniform(0, 1, (b, k)) * n[:, None] / k
    s1, s2 = (rng.normal(size=(b, k, d)) * s0[..., None] for _ in range(2))
    return Moments(*(a.astype(dtype) for a in (s0, s1, np.abs(s2))), np.zeros(b)), n


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(str(v) for v in o.values()))
@pytest.mark.parametrize(("b", "k", "d"), [(3, 5, 70), (1, 1, 1), (2, 33, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_agree(device, rng, b, k, d, dtype, options):
    m, n = sums_of(rng, b, k, d, dtype)
    weights = rng.dirichlet(np.ones(k))
    if k > 2:
        weights[1] = 1e-9  # below MIN_WEIGHT
    given = [a.view(OnDevice) for a in m[:3]]
    found = fisher_kernel.compute(device, given, n, weights, **options)
    assert device.launched == [f"fisher_{dtype}"]
    found = np.asarray(device.download(found))
    assert found.dtype == dtype
    expected = reference.vectors(m, n, weights, **options)
    assert distances([found], [expected])[0] < (1e-6 if dtype == "float32" else 1e-14)
    expected = fisher_vectors.vectors(m, n, weights, **options)
    assert expected.dtype == dtype
    assert distances([found], [expected])[0] < (1e-6 if dtype == "float32" else 1e-14)


def test_zero_moments_give_a_zero_vector(device):
    nothing = Moments(np.zeros((2, 3)), np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), np.zeros(2))
    given = [a.view(OnDevice) for a in nothing[:3]]
    found = fisher_kernel.compute(device, given, np.ones(2), np.full(3, 1 / 3), **OPTIONS[4])
    assert not np.asarray(found).any()


@pytest.mark.parametrize("inertia", [0.0, 70.5])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (5, 70), (33, 4)])
def test_the_m_step_gives_the_bits_of_the_cpu(device, rng, k, d, inertia):
    s0, s1, s2 = rng.uniform(0, 90, k), rng.normal(size=(k, d)) * 40, rng.uniform(0, 90, (k, d)) + 60
    s0[0] = 0.0  # an empty component
    at = mixture(rng, k, d)
    found = em_kernel.compute(device, [a.view(OnDevice) for a in (s0, s1, s2)], *at, inertia=inertia)
    assert device.launched == ["m_step"]
    for a, b, c in zip(
        found, em.m_step(s0, s1, s2, *at, inertia=inertia), reference.m_step(s0, s1, s2, *at, inertia=inertia),
        strict=True,
    ):  # fmt: skip
        assert type(a) is np.ndarray
        assert np.array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(fisher_kernel.vectors, fisher_vectors.vectors), (em_kernel.m_step, em.m_step)]
)
def test_array_code_has_all_parameters_of_the_kernel(ours, theirs):
    assert ours.__name__ == theirs.__name__
    parameters = list(inspect.signature(theirs).parameters.values())
    n = len(inspect.signature(ours).parameters)
    assert [str(p) for p in parameters[:n]] == [str(p) for p in inspect.signature(ours).parameters.values()]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[n:])
    specification = inspect.signature(getattr(reference, ours.__name__)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in specification] == [
        (p.name, p.kind, p.default) for p in inspect.signature(ours).parameters.values()
    ]


def test_fisher_vectors_take_two_launches(everywhere, rng):
    parameters = mixture(rng, 6, 20)
    x = descriptors(rng, parameters, 3, 80)
    given = GaussianMixture.from_parameters(*parameters)
    for options in ({}, {"improved": False, "order": "moment", "weight_part": True}):
        everywhere.launched.clear()
        found = FisherVector(given, **options).transform(torch.from_numpy(channel_first(x, 8)))
        assert everywhere.launched == ["moments_resident_float32", "fisher_float32"]
        assert distances([found.numpy()], [FisherVector(given, **options).transform(x)])[0] < 1e-5


@pytest.mark.parametrize("method", ["exact", "stepwise"])
def test_em_gives_the_result_of_the_cpu(everywhere, rng, method):
    parameters = mixture(rng, 4, 6)
    x = descriptors(rng, parameters, 1, 700)[0]
    settings = {"max_iter": 3, "method": method, "weights_init": parameters[0], "means_init": parameters[1]}
    settings |= {"variances_init": parameters[2]}
    ours = GaussianMixture(4, **settings).fit(torch.from_numpy(x))
    assert "m_step" in everywhere.launched
    theirs = GaussianMixture(4, **settings).fit(x)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.variances_, theirs.variances_, rtol=1e-4)
    assert ours.score(torch.from_numpy(x)) == pytest.approx(theirs.score(x), rel=1e-5)


@pytest.mark.filterwarnings("ignore:out of device memory")
@pytest.mark.parametrize("way", ["fit", "score", "transform", "ragged"])
def test_estimators_halve_the_batch_on_out_of_memory(everywhere, rng, monkeypatch, way):
    monkeypatch.setattr(launches, "GROUP", 2)
    parameters = mixture(rng, 3, 9)
    maps = torch.from_numpy(descriptors(rng, parameters, 8, 1100))
    given = GaussianMixture.from_parameters(*parameters)

    def run():
        if way == "fit":
            names = dict(zip(("weights_init", "means_init", "variances_init"), parameters, strict=True))
            return torch.from_numpy(GaussianMixture(3, max_iter=2, tol=np.inf, **names).fit(maps).means_)
        if way == "score":
            return torch.tensor(given.score(maps))
        return FisherVector(given).transform(list(maps) if way == "ragged" else maps)

    everywhere.limit(1 << 30)
    expected, most = run().clone(), everywhere.most
    assert everywhere.failures == 0
    everywhere.limit(most // 2)
    assert torch.equal(run(), expected)
    assert everywhere.failures > 0
    if way in ("transform", "ragged"):  # even the results of one map exceed the memory
        everywhere.limit(100)
        with pytest.raises(MemoryError):
            run()
