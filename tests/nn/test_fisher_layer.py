"""The torch layer: equal to the estimator, exact gradients, torch.compile, autocast, state, first batches."""

import numpy as np
import pytest

from ildfv import FisherVector, GaussianMixture
from ildfv.errors import InputError

torch = pytest.importorskip("torch")

from torch import library  # noqa: E402

from ildfv.nn import FisherVector2d  # noqa: E402
from ildfv.nn.operators import moments  # noqa: E402

K, D = 3, 4


def a_mixture(seed=0, k=K, d=D) -> GaussianMixture:
    random = np.random.default_rng(seed)
    weights = random.uniform(1, 3, k)
    return GaussianMixture.from_parameters(
        weights / weights.sum(), random.normal(size=(k, d)), random.uniform(0.5, 2, (k, d))
    )


def maps_of(*shape, seed=1, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def plain(layer, maps):
    """The layer's raw vectors by torch operations alone, with all n·k·d differences in memory."""
    x = maps.flatten(2).mT if maps.ndim == 4 else maps
    log_w, means, var = layer.logits.log_softmax(0), layer.means, layer.log_variances.exp()
    t = (x[:, :, None] - means) / var.sqrt()  # (b, n, k, d)
    gamma = (log_w - 0.5 * (var.log().sum(1) + (t * t).sum(3))).softmax(2)[..., None]
    w, n = log_w.exp()[:, None], x.shape[1]
    u, v = (gamma * t).sum(1) / (n * w.sqrt()), (gamma * (t * t - 1)).sum(1) / (n * (2 * w).sqrt())
    return torch.cat([u, v], 2).flatten(1)


@pytest.mark.parametrize("order", ["component", "moment"])
@pytest.mark.parametrize("weight_part", [False, True])
@pytest.mark.parametrize("improved", [False, True])
def test_the_layer_equals_the_estimator(order, weight_part, improved):
    options = {"order": order, "weight_part": weight_part, "improved": improved}
    maps = maps_of(2, D, 5, 6)
    layer = FisherVector2d.from_mixture(a_mixture(), dtype=torch.float64, **options)
    expected = FisherVector(a_mixture(), **options).transform(maps)
    torch.testing.assert_close(layer(maps), expected, rtol=1e-9, atol=1e-12)
    assert layer(maps).shape[1] == layer.n_outputs


@pytest.mark.parametrize("shape", [(2, D, 3, 2), (2, 6, D)])
@pytest.mark.parametrize("options", [{}, {"improved": False, "weight_part": True}, {"power": 0.8, "order": "moment"}])
def test_gradients_are_those_of_finite_differences(shape, options):
    layer = FisherVector2d.from_mixture(a_mixture(), threshold=0.0, dtype=torch.float64, **options)
    parameters = [p.detach().requires_grad_() for p in (layer.logits, layer.means, layer.log_variances)]
    names = ("logits", "means", "log_variances")

    def vectors(maps, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), maps)

    maps = maps_of(*shape).requires_grad_()
    assert torch.autograd.gradcheck(vectors, (maps, *parameters))


def test_gradients_are_those_of_plain_torch_operations():
    layer = FisherVector2d.from_mixture(a_mixture(), threshold=0.0, improved=False, dtype=torch.float64)
    found, expected = [], []
    for compute, to in ((layer, found), (lambda x: plain(layer, x), expected)):
        maps = maps_of(3, D, 4, 5).requires_grad_()
        to += torch.autograd.grad((compute(maps) * torch.linspace(-1, 1, 2 * K * D)).sum(), [maps, *layer.parameters()])
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_blocks_of_descriptors_do_not_change_gradients(monkeypatch):
    from ildfv.nn import gradients

    layer = FisherVector2d.from_mixture(a_mixture(), dtype=torch.float64)
    whole = maps_of(3, D, 5, 5).requires_grad_()
    expected = torch.autograd.grad(layer(whole).square().sum() + layer(whole)[0, :5].sum(), whole)[0]
    monkeypatch.setattr(gradients, "BLOCK_BYTES", 0)
    for size in (7, 60):  # descriptors
        monkeypatch.setattr(gradients, "FEWEST", size)
        found = torch.autograd.grad(layer(whole).square().sum() + layer(whole)[0, :5].sum(), whole)[0]
        torch.testing.assert_close(found, expected)


def test_weighted_descriptors_have_the_gradients_of_repeated_ones():
    layer = FisherVector2d.from_mixture(a_mixture(), dtype=torch.float64)
    maps = maps_of(1, 4, D)
    counts = torch.tensor([[2.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    one = maps.clone().requires_grad_()
    many = maps[:, [0, 0, 1, 3]].clone().requires_grad_()
    torch.testing.assert_close(layer(one, counts), layer(many))
    layer(one, counts)[0, ::3].sum().backward()
    layer(many)[0, ::3].sum().backward()
    torch.testing.assert_close(one.grad[0, 0], many.grad[0, 0] + many.grad[0, 1])
    assert not one.grad[0, 2].any()


def test_float32_gradients_are_close_where_means_are_far_from_zero():
    mixture = a_mixture()
    far = GaussianMixture.from_parameters(mixture.weights_, mixture.means_ + 1000, mixture.variances_)
    maps = (maps_of(2, D, 6, 6) + 1000).float().detach()
    grads = []
    for dtype in (torch.float32, torch.float64):
        layer = FisherVector2d.from_mixture(far, improved=False, dtype=torch.float64)
        x = maps.clone().to(dtype).requires_grad_()
        layer(x)[:, ::2].sum().backward()
        grads.append(x.grad.double())
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-6)


def test_the_operator_is_correct_for_torch_library():
    maps = maps_of(2, D, 3, 3).requires_grad_()
    layer = FisherVector2d.from_mixture(a_mixture(), dtype=torch.float64)
    arguments = (maps, layer.logits.log_softmax(0).detach(), layer.means, layer.log_variances.exp().detach())
    library.opcheck(moments, (*arguments, None, 1e-6))
    library.opcheck(moments, (*arguments, torch.ones(2, 9, dtype=torch.float64), 1e-6))


# inductor compiles the convolution, which then sums in another order: gradients differ by up to 2.2e-5 (AVX2).
@pytest.mark.parametrize(
    ("backend", "tolerance"), [("aot_eager", 1e-5), pytest.param("inductor", 5e-5, marks=pytest.mark.slow)]
)
def test_a_compiled_layer_has_no_graph_break_and_the_same_gradients(backend, tolerance):
    network = torch.nn.Sequential(torch.nn.Conv2d(2, D, 3), FisherVector2d.from_mixture(a_mixture()))
    torch._dynamo.reset()
    compiled = torch.compile(network, fullgraph=True, backend=backend)
    maps = maps_of(2, 2, 6, 6, dtype=torch.float32)
    grads = []
    for run in (network, compiled):
        network.zero_grad()
        run(maps)[:, ::2].sum().backward()
        grads.append([p.grad.clone() for p in network.parameters()])
    for eager, ours in zip(*grads, strict=True):
        torch.testing.assert_close(eager, ours, rtol=1e-4, atol=tolerance)


def test_a_compiled_layer_is_initialised_by_its_first_batch_or_before_a_full_graph():
    maps = maps_of(2, D, 6, 6, dtype=torch.float32)
    torch._dynamo.reset()
    first = FisherVector2d(D, 3)
    vectors = torch.compile(first, backend="eager")(maps)
    before = FisherVector2d(D, 3).initialise(maps)
    torch.testing.assert_close(torch.compile(before, fullgraph=True, backend="eager")(maps), vectors)
    torch.testing.assert_close(before.means, first.means)


def test_autocast_reads_bfloat16_and_computes_in_float32():
    network = torch.nn.Sequential(torch.nn.Conv2d(2, D, 3), FisherVector2d.from_mixture(a_mixture()))
    maps = maps_of(2, 2, 6, 6, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        vectors = network(maps)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, network(maps), rtol=0.05, atol=0.05)
    vectors[:, ::2].sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())


def test_a_fixed_layer_has_no_parameters_but_passes_gradients():
    layer = FisherVector2d.from_mixture(a_mixture(), trainable=False)
    assert list(layer.parameters()) == []
    maps = maps_of(1, D, 3, 3, dtype=torch.float32).requires_grad_()
    layer(maps)[0, 0].backward()
    assert maps.grad.abs().max() > 0


@pytest.mark.parametrize("trainable", [True, False])
def test_the_state_restores_the_layer(trainable, tmp_path):
    layer = FisherVector2d.from_mixture(a_mixture(), trainable=trainable)
    torch.save(layer.state_dict(), tmp_path / "layer.pt")
    other = FisherVector2d(D, K, trainable=trainable).eval()
    other.load_state_dict(torch.load(tmp_path / "layer.pt", weights_only=True))
    maps = maps_of(2, D, 4, 4, dtype=torch.float32)
    assert torch.equal(layer(maps), other(maps))


def test_the_first_batch_in_training_initialises_the_layer():
    maps = maps_of(4, D, 8, 8, dtype=torch.float32)
    layer = FisherVector2d(D, K)
    layer(maps)
    assert bool(layer.initialised)
    assert layer.mixture().score(maps) > a_mixture().score(maps)
    assert torch.equal(layer(maps), FisherVector2d(D, K).initialise([maps])(maps))


def test_training_reduces_the_distance_to_a_target():
    torch.manual_seed(0)
    layer, maps = FisherVector2d.from_mixture(a_mixture()), maps_of(4, D, 6, 6, dtype=torch.float32)
    goal = FisherVector2d.from_mixture(a_mixture(5))(maps).detach()
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        losses.append((layer(maps) - goal).square().sum())
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.9 * losses[0]


def test_errors_are_one_line():
    layer = FisherVector2d(D, K).eval()
    with pytest.raises(InputError, match=r"no mixture yet: call initialise\(maps\), or use from_mixture$"):
        layer(maps_of(1, D, 2, 2))
    with pytest.raises(InputError, match=r"must have 4 features like the layer, got 5 in shape \(1, 5, 2, 2\)$"):
        layer(maps_of(1, 5, 2, 2))
    with pytest.raises(InputError, match=r"must have shape \(b, d, h, w\) or \(b, n, d\), got \(4, 4\)$"):
        layer(maps_of(4, 4))
    with pytest.raises(InputError, match=r"power must be in \(0, 1\], got 0"):
        FisherVector2d(D, K, power=0)
    with pytest.raises(InputError, match=r"mixture must have means of shape \(2, 4\), got \(3, 4\)"):
        FisherVector2d(D, 2).set_mixture(a_mixture())
    layer.set_mixture(a_mixture())
    with pytest.raises(InputError, match="NaN or infinity in map 1"):
        layer(torch.stack([torch.zeros(D, 2, 2), torch.full((D, 2, 2), torch.nan)]))
