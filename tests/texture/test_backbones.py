"""Backbones can be joined, "auto" depends on the weights and the images, and computed maps are found again."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.texture import TextureClassifier, TextureEncoder, texture_features
from ildfv.texture import backbones as module
from ildfv.texture import encoder as encoder_module
from ildfv.texture import evaluate as evaluate_module
from ildfv.texture.collection import Collection
from ildfv.texture.features import scales_of
from ildfv.texture.filters import Filters
from ildfv.texture.generated import generate
from ildfv.texture.splits import Protocol


class Network:
    """A backbone that counts its calls and, like a network, needs 32 pixels."""

    name, layers, least = "efficientnet-lite0", ("deep",), 32
    calls = 0

    def scales(self, small):
        return (2.0, 1.0) if small else (1.0,)

    def auto(self):
        return self.layers

    def maps(self, image, layers):
        type(self).calls += 1
        return {"deep": np.stack([image[::4, ::4], image[::4, ::4] ** 2]).astype(np.float32)}


@pytest.fixture
def network(monkeypatch):
    """The packages of the network are installed, and the network is `Network`."""
    module.backbone_of.cache_clear()
    monkeypatch.setattr(module, "is_installed", lambda name: True)
    monkeypatch.setattr(module, "_single", lambda name, whole: Filters() if name == "filters" else Network())
    monkeypatch.setattr(encoder_module, "SAMPLE", 2000)
    monkeypatch.setattr(Network, "calls", 0)
    yield Network
    module.backbone_of.cache_clear()


def images(side, n=6):
    return [np.random.default_rng(i).random((side, side)) for i in range(n)]


def test_auto_is_filters_and_network_if_its_weights_are_installed(network, monkeypatch):
    encoder = TextureEncoder(n_components=2).fit(images(40))
    assert encoder.backbone_ == "filters+efficientnet-lite0"
    assert encoder.layers_ == ("derivatives", "patches", "intensity", "deep")
    monkeypatch.setattr(module, "is_installed", lambda name: False)
    assert TextureEncoder(n_components=2).fit(images(40)).backbone_ == "filters"


def test_auto_is_filters_for_images_that_are_too_small_for_the_network(network):
    assert TextureEncoder(n_components=2).fit(images(12)).backbone_ == "filters"
    with pytest.raises(InputError, match=r"at least 16×16 pixels for efficientnet-lite0 at scale 2, got 12×12: choose"):
        TextureEncoder("filters+efficientnet-lite0", n_components=2).fit(images(12))


def test_scales_of_small_and_large_images():
    both = module.Joined([Filters(), Network()])
    assert scales_of("auto", both, [61, 61, 500]) == {"filters": (1.0, 0.5), "efficientnet-lite0": (2.0, 1.0)}
    assert scales_of("auto", both, [200, 198, 61]) == {"filters": (1.0, 0.5), "efficientnet-lite0": (1.0,)}
    assert scales_of((1,), Filters(), [61]) == {"filters": (1.0,)}
    with pytest.raises(InputError, match='scales must be numbers or "auto", got "large"'):
        scales_of("large", both, [61])


def test_auto_selects_three_layers_without_the_deepest():
    pytest.importorskip("torch")
    from ildfv.texture import networks

    network = object.__new__(networks.Network)
    network._shapes = {"stem": (8, 112, 112), "a": (8, 112, 112)}
    network._shapes |= {f"b.{i}": (8, side, side) for i, side in enumerate((56, 56, 28, 14))}
    network._shapes |= {name: (8, side, side) for name, side in (("c", 56), ("d", 28), ("e", 14), ("f", 7), ("g", 1))}
    network.layers = tuple(network._shapes)
    assert network.auto() == ("c", "d", "e")
    network.layers = ("only",)
    network._shapes = {"only": (8, 7, 7)}
    assert network.auto() == ("only",)


class Encoder:
    """Layers of one value each."""

    layers_ = ("derivatives", "patches", "intensity", "deep")

    def parts(self):
        return [self.layers_[:3], self.layers_[3:]]

    def columns(self, layer):
        return slice(self.layers_.index(layer), self.layers_.index(layer) + 1)


@pytest.mark.parametrize(("good", "used"), [([3], {"deep"}), ([0, 1], {"derivatives", "patches"})])
def test_only_the_layers_that_help_are_used(good, used):
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 40)
    x = 2000 * rng.normal(size=(80, 4))  # so large that the penalty hides the small values of the other layers
    x[:, good] = labels[:, None] - 0.5 + 0.25 * rng.normal(size=(80, len(good)))
    model = TextureClassifier()
    model.encoder_ = Encoder()
    functional = np.abs(model._best_head(x, labels, None).functional()).max(axis=0)
    assert {layer for layer, value in zip(Encoder.layers_, functional, strict=True) if value > 0} == used


def test_each_layer_has_the_maps_of_its_backbone(network):
    both = texture_features(images(40), backbone="efficientnet-lite0+filters", scales=(1, 0.5))
    assert list(both) == ["deep", "derivatives", "patches", "intensity"]
    alone = texture_features(images(40), backbone="filters", scales=(1, 0.5))
    np.testing.assert_array_equal(both["patches"][0], alone["patches"][0])
    assert both["deep"][0].shape == (100, 2)  # at scale 1 only: 20 pixels are too few


def test_joined_backbones_need_different_layers(network):
    with pytest.raises(InputError, match=r"joined by \+ must have different layers, got \['derivatives'\] twice"):
        TextureEncoder("filters+filters").fit(images(40))
    assert module.JOINT.split("filters+timm:a@my+weights.pt") == ["filters", "timm:a@my+weights.pt"]


def test_a_saved_model_remembers_what_auto_selected(network, tmp_path, monkeypatch):
    model = TextureClassifier(n_components=2, head="regression").fit(images(40), list("ababab"))
    model.save(tmp_path)
    monkeypatch.setattr(module, "is_installed", lambda name: False)
    restored = TextureClassifier.load(tmp_path)
    assert restored.encoder_.scales_ == model.encoder_.scales_
    np.testing.assert_array_equal(restored.scores(images(40)), model.scores(images(40)))


def test_maps_are_computed_once_and_found_again(network, tmp_path):
    plain = TextureEncoder(n_components=2, scales=(1,)).fit(images(40))
    kept = TextureEncoder(n_components=2, scales=(1,), memory=str(tmp_path)).fit(images(40))
    calls = network.calls
    np.testing.assert_array_equal(kept.transform(images(40)), plain.transform(images(40)))
    assert network.calls == calls + 6  # those of `plain`
    assert len(list(tmp_path.glob("*.safetensors"))) == 6
    kept.fit([2 * image for image in images(40)])  # other values, other files
    assert len(list(tmp_path.glob("*.safetensors"))) == 12
    assert "memory" not in kept.info()["settings"]


def test_the_splits_of_an_evaluation_compute_each_image_once(network, tmp_path, monkeypatch):
    pixels, labels, _ = generate(4, 1, size=40)
    paths = []
    for i, image in enumerate(pixels):
        paths.append(tmp_path / f"{i}.npy")
        np.save(paths[-1], np.clip((image + 1000) / 3, 0, 255).astype(np.uint8))
    collection = Collection(tuple(paths), tuple(labels))
    model = TextureClassifier(n_components=2, scales=(1,), head="regression")
    found = evaluate_module.evaluate(collection, model, Protocol(train_per_class=2, repeats=3))
    assert network.calls == len(paths)
    assert found.to_dict()["settings"]["backbone"] == "filters+efficientnet-lite0"
    assert found.to_dict()["settings"]["layers"] == ["derivatives", "patches", "intensity", "deep"]
    assert found.last.memory is None
