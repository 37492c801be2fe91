"""Networks have the paper's shapes, custom layers equal torch's, and activations stop at their layer."""

import sys
from collections import OrderedDict
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F
from train_support import SIDE

from ildfv.errors import InputError, MissingPackageError
from ildfv.train import external, networks
from ildfv.train.activations import Activations
from ildfv.train.architectures import NETWORKS
from ildfv.train.blocks import Dropout, Heads, prepare_dropout
from ildfv.train.losses import logistic


@pytest.fixture(scope="module")
def cnnf():
    return networks.build("cnnf")


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("layer", "d", "side"),
    [
        ("conv1", 64, 54),
        ("conv2", 256, 27),
        ("conv3", 256, 13),
        ("conv5", 256, 13),
        ("fc6", 4096, 1),
    ],
)
def test_cnnf_layers_have_the_papers_shapes(cnnf, images, layer, d, side):
    activations = Activations(cnnf, layer)
    maps = activations(images)
    assert maps.shape == (2, d, side, side)
    assert maps.dtype == torch.float32
    assert (activations.d, activations.n) == (d, side * side)
    assert maps.min() == 0 < maps.max()  # after the ReLU


def test_conv1_has_2916_descriptors_of_64(cnnf):
    conv1 = Activations(cnnf, "conv1")
    assert (conv1.n, conv1.d) == (2916, 64)


def test_conv1_is_a_plain_convolution_of_normalised_slices(cnnf, images):
    x = (images.double() - cnnf.mean.double().view(3, 1, 1)) / cnnf.std.double().view(3, 1, 1)
    expected = F.relu(F.conv2d(x, cnnf.body.conv1.weight.double(), cnnf.body.conv1.bias.double(), stride=4))
    torch.testing.assert_close(Activations(cnnf, "conv1")(images).double(), expected, rtol=1e-4, atol=1e-5)


def test_maps_are_channels_last_in_memory(cnnf, images):
    assert Activations(cnnf, "conv1")(images).permute(0, 2, 3, 1).is_contiguous()


def test_layers_above_the_requested_one_are_not_run(cnnf, images):
    conv1, ran = Activations(cnnf, "conv1"), []
    handle = cnnf.body.lrn1.register_forward_hook(lambda *_: ran.append("lrn1"))
    try:
        conv1(images.numpy())  # NumPy comes in, a tensor goes out
        assert not ran
        cnnf(images)
        assert ran == ["lrn1"]  # computing activations has left no hook
    finally:
        handle.remove()


def test_fc6_is_the_input_of_fc7(cnnf, images):
    fc6 = Activations(cnnf, "fc6")(images)[:, :, 0, 0]
    with torch.inference_mode():
        torch.testing.assert_close(cnnf.body.out(F.relu(cnnf.body.fc7(fc6))), cnnf(images))


def test_errors_for_unknown_names_list_the_known_ones(cnnf):
    with pytest.raises(InputError, match=r'one of conv1, .*, fc7, got "conv9"'):
        Activations(cnnf, "conv9")
    with pytest.raises(InputError, match=r'network must be one of cnnf, .* got "alexnet"'):
        networks.build("alexnet")


def test_images_of_another_shape_are_refused(cnnf):
    with pytest.raises(InputError, match=r"shape \(b, 3, h, w\), got \(1, 1, 224, 224\)"):
        cnnf(torch.zeros(1, 1, 224, 224))


def test_vgg19_has_sixteen_convolutions_and_three_full_layers():
    with torch.device("meta"):  # 144 million weights: shapes alone
        body, layers = NETWORKS["vgg19"](4)
    numbers = [sum(isinstance(m, kind) for m in body.modules()) for kind in (nn.Conv2d, nn.Linear, nn.MaxPool2d)]
    assert numbers == [16, 3, 5]
    assert list(layers)[-3:] == ["conv5_4", "fc6", "fc7"]
    assert body(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 4)
    assert sum(p.numel() for p in body[:-1].parameters()) == 139_570_240  # the published 143,667,240 less fc8


def test_dropout_depends_on_the_samples_position_only():
    body, x = nn.Sequential(Dropout(0.5), Dropout(0.5)).train(), torch.ones(6, 1000)
    prepare_dropout(body, 7, torch.arange(6), 6)
    whole = body(x)
    parts = []
    for rows in (torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5])):
        prepare_dropout(body, 7, rows, 6)
        parts.append(body(x[rows]))
    assert torch.equal(torch.stack(parts, dim=1).reshape(6, 1000), whole)
    assert whole.mean().item() == pytest.approx(1, abs=0.1)
    assert set(whole.unique().tolist()) == {0.0, 4.0}  # the two layers draw different masks
    prepare_dropout(body, 8, torch.arange(6), 6)
    assert not torch.equal(body(x), whole)
    assert torch.equal(body.eval()(x), x)


def test_heads_train_by_the_two_class_softmax_loss():
    heads = Heads(8, 4)
    x, present = torch.randn(5, 8), torch.tensor([[0, 1, 0, 1]] * 5)
    softmax = sum(F.cross_entropy(head(x), present[:, k], reduction="none") for k, head in enumerate(heads.heads))
    torch.testing.assert_close(logistic(heads(x), 2.0 * present - 1), softmax)


def test_networks_of_other_packages_are_built_by_name(monkeypatch, images):
    """With a stub of torchvision, because the package is optional and need not be installed for tests."""
    models = ModuleType("torchvision.models")

    def get_model(name, weights, num_classes):
        assert weights is None  # nothing is downloaded
        num_classes *= 2 if name == "wide_net" else 1
        return nn.Sequential(
            OrderedDict(
                stem=nn.Conv2d(3, 5, 16, 16),
                pool=nn.AdaptiveAvgPool2d(1),
                flat=nn.Flatten(),
                head=nn.Linear(5, num_classes),
            )
        )

    models.get_model = get_model
    models.list_models = lambda module: ["some_net", "wide_net"]
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    network = networks.build("torchvision:some_net", n_outputs=4)
    with pytest.raises(InputError, match=r"must output \(2, 4\) for slices .* got \(2, 8\)"):
        networks.build("torchvision:wide_net", n_outputs=4)
    with pytest.raises(
        InputError, match=r'^network must be a network of torchvision, such as some_net, wide_net, got "maskrcnn"$'
    ):
        networks.build("torchvision:maskrcnn", n_outputs=4)
    assert network(images).shape == (2, 4)
    stem = Activations(network, "stem")
    assert (stem.d, stem.n) == (5, 14 * 14)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingPackageError, match=r"pip install -c constraints.txt .ildfv\[networks\]"):
        networks.build("timm:resnet18")


@pytest.mark.parametrize("message", ["operator torchvision::roi_align does not exist", "undefined symbol"])
def test_a_torchvision_built_for_another_torch_is_an_error(monkeypatch, message):
    def broken(module):
        raise RuntimeError(message)

    monkeypatch.setattr(external.importlib, "import_module", broken)
    for name in ("torchvision:resnet18", "timm:resnet18"):
        with pytest.raises(InputError, match="must be built for torch"):
            networks.build(name)


def real(name):
    """The network; skips if its package is not installed."""
    try:
        return networks.build(name)
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18", "timm:convnext_atto"])
def test_real_networks_of_other_packages_learn(name, images):
    network = real(name)
    f = network.train()(images)
    assert f.shape == (2, 4)
    f.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_layers_of_a_real_network_can_be_encoded(images):
    network = real("torchvision:resnet18")
    names = list(network.layers)
    assert names[:4] == ["conv1", "bn1", "relu", "maxpool"]  # in the order in which they run
    assert names[-1] == "fc"
    assert "layer1.0.relu" not in names  # excluded because it runs twice
    for name, shape in {"layer1": (64, 56 * 56), "layer4.1.conv2": (512, 49), "avgpool": (512, 1)}.items():
        found = Activations(network, name)
        assert (found.d, found.n) == shape
    with pytest.raises(InputError) as caught:
        Activations(network, "conv5")
    message = str(caught.value)
    assert message.startswith("layer of torchvision:resnet18 must be one of conv1, bn1, relu, maxpool, layer1.0, ")
    assert message.endswith('41 nested ones such as layer1.0.conv1, got "conv5"')


def test_every_layer_of_a_real_network_gives_maps(images):
    """Modules of transformers that return tokens (b, n, d) or (b, heads, n, d) are not layers."""
    network = real("timm:vit_tiny_patch16_224")
    assert not any(name.startswith("blocks") for name in network.layers)
    for name in network.layers:
        assert Activations(network, name)(images).ndim == 4


def test_weights_depend_on_the_seed_only():
    first = networks.build("tiny", seed=3)
    torch.rand(5)
    again, other = networks.build("tiny", seed=3), networks.build("tiny", seed=4)
    assert torch.equal(first.body.conv1.weight, again.body.conv1.weight)
    assert not torch.equal(first.body.conv1.weight, other.body.conv1.weight)


def test_building_does_not_change_the_callers_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    networks.build("tiny", seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_a_saved_network_gives_the_same_scores(tmp_path, images):
    images = images[:, :, :SIDE, :SIDE]
    network = networks.build("tiny", seed=1).normalise(np.array([10, 20, 30.5]), np.array([1, 2, 3.5])).eval()
    networks.save(tmp_path, network, {"fold": 0})
    loaded = networks.load(tmp_path)
    assert loaded.mean.tolist() == [10, 20, 30.5]
    with torch.inference_mode():
        assert torch.equal(loaded(images), network(images))


@pytest.mark.parametrize("name", ["patch", "cnnf-multihead"])
def test_loading_restores_values_and_memory_layout(tmp_path, name):
    """They are restored although the initialisation is skipped."""
    saved = networks.build(name, n_outputs=3, seed=5)
    networks.save(tmp_path, saved, {})
    before, after = saved.state_dict(), networks.load(tmp_path).state_dict()
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        assert torch.equal(tensor, after[key])
        assert tensor.stride() == after[key].stride()


def test_pretrained_weights_are_loaded_where_shapes_match(tmp_path):
    source = networks.build("tiny", n_outputs=10, seed=1)
    values = {k.removeprefix("body."): v for k, v in networks.tensors(source).items()}
    save_file(values, tmp_path / "w.safetensors")
    network = networks.build("tiny", seed=2)
    taken = networks.load_weights(network, tmp_path / "w.safetensors")
    assert "body.conv1.weight" in taken
    assert "body.out.weight" not in taken  # the file has ten outputs, the network four
    assert torch.equal(network.body.conv1.weight, source.body.conv1.weight)


def test_pretrained_weights_without_a_match_are_refused(tmp_path):
    save_file({"stem": np.zeros(3, np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="must contain weights of tiny"):
        networks.load_weights(networks.build("tiny"), tmp_path / "w.safetensors")


@pytest.mark.parametrize(("mean", "std", "rule"), [([1, 2], [1, 1, 1], "shape"), ([1, 2, 3], [1, 0, 1], "positive")])
def test_normalisation_is_checked(mean, std, rule):
    with pytest.raises(InputError, match=rule):
        networks.build("tiny").normalise(mean, std)
