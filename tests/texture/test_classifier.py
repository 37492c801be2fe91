"""The texture classifier learns, follows scikit-learn, is saved and restored, and has exact contribution maps."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from ildfv import FisherVector, LayerUnion
from ildfv.errors import InputError
from ildfv.texture import TextureClassifier, TextureEncoder, texture_features
from ildfv.texture import classifier as classifier_module
from ildfv.texture import encoder as encoder_module
from ildfv.texture.contributions import contribution_maps
from ildfv.texture.generated import CLASSES, generate
from ildfv.texture.images import as_picture

SMALL = {"backbone": "filters", "n_components": 4, "layers": "derivatives", "scales": (1.0,)}


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    monkeypatch.setattr(encoder_module, "SAMPLE", 3000)


@pytest.fixture(scope="module")
def patches():
    return generate(6, 1, size=32, contrast=0.9)


@pytest.fixture(scope="module")
def fitted(patches):
    images, labels, groups = patches
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_module, "SAMPLE", 3000)
        return TextureClassifier(**SMALL).fit(images, labels, groups)


def test_unseen_subjects_are_classified_better_than_by_chance(fitted):
    images, labels, _ = generate(10, 1, size=32, contrast=0.9)
    accuracy = (fitted.predict(images[36:]) == labels[36:]).mean()
    assert accuracy > 0.4  # chance: 0.17
    assert fitted.score(images[36:], labels[36:]) == accuracy
    assert fitted.classes_.tolist() == list(CLASSES)


def test_a_saved_model_gives_the_same_scores(fitted, patches, tmp_path):
    fitted.save(tmp_path)
    restored = TextureClassifier.load(tmp_path)
    np.testing.assert_array_equal(restored.scores(patches[0]), fitted.scores(patches[0]))
    np.testing.assert_array_equal(restored.classes_, fitted.classes_)
    assert restored.get_params() == fitted.get_params()


def test_a_damaged_or_other_model_gives_a_one_line_error(fitted, tmp_path):
    from ildfv.store.models import save_model

    save_model(tmp_path / "other", {"x": np.zeros(2)}, {"estimator": "PCA"})
    with pytest.raises(InputError, match="other must be a texture classifier, got PCA"):
        TextureClassifier.load(tmp_path / "other")
    fitted.save(tmp_path / "own")
    data = bytearray((tmp_path / "own" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "own" / "model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="checksum mismatch"):
        TextureClassifier.load(tmp_path / "own")


def test_the_contribution_maps_add_up_to_the_scores(fitted, patches):
    picture = as_picture(patches[0][3], "a")
    maps = contribution_maps(fitted, picture)
    zero = fitted.head_.scores(np.zeros((1, fitted.head_.mean.size)))[0]
    assert maps.shape == (6, 32, 32)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), fitted.scores([picture])[0] - zero, atol=1e-4)


def test_the_classifier_follows_scikit_learn_conventions(patches):
    images, labels, _ = patches
    search = GridSearchCV(TextureClassifier(**SMALL, head="regression"), {"n_components": [1, 3]}, cv=2)
    search.fit(np.stack(images), labels)
    assert search.best_params_["n_components"] in (1, 3)
    pipeline = make_pipeline(TextureEncoder(**SMALL), LinearSVC()).fit(images, labels)
    assert pipeline.score(images, labels) > 0.8
    frame = pytest.importorskip("pandas")
    encoder = clone(TextureEncoder(**SMALL)).set_output(transform="pandas").fit(images)
    found = encoder.transform(images[:2])
    assert isinstance(found, frame.DataFrame)
    assert found.columns[0] == "derivatives_u_0_0"
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_fitting_twice_gives_equal_bits(fitted, patches):
    again = clone(fitted).fit(*patches)
    np.testing.assert_array_equal(again.scores(patches[0]), fitted.scores(patches[0]))


def test_intensity_is_kept():
    rng = np.random.default_rng(0)
    images = [rng.normal(800 * (i % 2), 100, (24, 24)).astype(np.float32) for i in range(12)]
    model = TextureClassifier("filters", n_components=2, scales=(1.0,)).fit(images, ["low", "high"] * 6)
    assert model.predict([images[0] * 0 + 10 + rng.normal(0, 100, (24, 24))]) == ["low"]
    assert model.decision_function(images[:2]).shape == (2,)


def test_images_of_any_size_and_kind_are_encoded_together():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (n, 40, 3) if n % 2 else (n, 33)).astype(np.uint8) for n in range(20, 30)]
    encoder = TextureEncoder("filters", n_components=2, scales=(1, 0.5)).fit(images)
    vectors = encoder.transform(images)
    assert vectors.shape == (10, 2 * 2 * (18 + 49 + 3))
    assert encoder.range_.high == 255


def test_texture_features_feed_any_encoder():
    rng = np.random.default_rng(0)
    features = texture_features([rng.random((20, 20)), rng.random((30, 24))], backbone="filters", scales=(1, 0.5))
    assert [len(x) for x in features["derivatives"]] == [20 * 20 + 10 * 10, 30 * 24 + 15 * 12]
    vectors = LayerUnion(FisherVector(n_components=2)).fit_transform(features)
    assert vectors.shape == (2, 2 * 2 * (18 + 49 + 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": ["a"] * 36}, "y must have at least 2 classes, got only a"),
        ({"y": ["a", "b"]}, "y must have 36 labels, one per image, got 2"),
        ({"y": ["a", np.nan] * 18}, "y must have no missing labels, got nan at index 1: omit such images"),
        ({"y": ["a", 1] * 18}, "y must contain only strings or only numbers"),
        ({"groups": [None] * 36}, "groups must have no missing labels, got None at index 0"),
        ({"groups": [1]}, r"groups must have shape \(36,\), got \(1,\)"),
        (
            {"X": [np.zeros((6, 30))] * 36},
            r"images\[0\] must have at least 7×7 pixels for filters at scale 1, got 6×30",
        ),
        ({"backbone": "nothing"}, 'backbone must be auto, or one or several of filters, .* by \\+, got "nothing"'),
        ({"backbone": "auto+filters"}, 'backbone must be auto, or one or several of .*, got "auto\\+filters"'),
        (
            {"backbone": "filters", "layers": "conv"},
            'layers of backbone filters must be among derivatives, patches, intensity, got "conv"',
        ),
        ({"scales": (0,)}, r"scales must be in \(0, 4\], got 0"),
        ({"head": "forest"}, "head must be auto or one of regression, logistic, svm, got 'forest'"),
    ],
)
def test_errors_are_one_line(patches, change, message):
    data = dict(zip(("X", "y", "groups"), patches, strict=True)) | {
        k: v for k, v in change.items() if len(k) < 7 and k in ("X", "y", "groups")
    }
    settings = SMALL | {k: v for k, v in change.items() if k not in data}
    with pytest.raises(InputError, match=message):
        TextureClassifier(**settings).fit(**data)


def test_a_class_with_a_single_image_can_be_learned():
    images = [np.random.default_rng(i).random((16, 16)) * (1 + i) for i in range(3)]
    model = TextureClassifier(**SMALL).fit(images, ["a", "a", "b"])
    assert model.head_.inner_accuracy is None
    assert model.predict(images).tolist() == ["a", "a", "b"]


@pytest.mark.parametrize("head", ["auto", "regression"])
def test_more_groups_than_images_of_a_class_can_be_learned(head):
    """Two images per class, each of its own group: no more splits are possible than a class has images."""
    images = [np.random.default_rng(i).random((16, 16)) * (1 + i % 2) for i in range(4)]
    model = TextureClassifier(**SMALL | {"head": head}).fit(images, ["a", "b", "a", "b"], [1, 2, 3, 4])
    assert model.head_.inner_accuracy is not None


def test_networks_can_be_backbones(patches):
    pytest.importorskip("torch")
    from ildfv.texture.backbones import backbone_of

    try:
        backbone = backbone_of("torchvision:squeezenet1_1@random")
    except ImportError:
        pytest.skip("torchvision is not installed")
    layers = backbone.auto()
    maps = backbone.maps(np.random.default_rng(0).random((64, 70)).astype(np.float32), layers)
    assert len(layers) >= 3
    assert all(one.ndim == 3 and one.dtype == np.float32 for one in maps.values())
    with pytest.raises(
        InputError, match=r"image must have at least 32×32 pixels for torchvision:squeezenet1_1, got 8×70"
    ):
        backbone.maps(np.zeros((8, 70), np.float32), layers)


class TwoLayers:
    """An encoder of vectors of two values, the second of which is intensity."""

    layers_ = ("derivatives", "intensity")

    def parts(self):
        return [self.layers_]

    def columns(self, layer):
        return slice(1, 2) if layer == "intensity" else slice(0, 1)


@pytest.mark.parametrize("misleads", [True, False])
def test_intensity_is_left_out_where_it_misleads(misleads):
    rng = np.random.default_rng(0)
    labels, groups = np.tile([0, 1], 30), np.repeat(np.arange(10), 6)
    sign = rng.choice([-1, 1], 10)[groups] if misleads else 1
    x = np.stack([labels - 0.5 + 0.5 * rng.normal(size=60), 20 * sign * (labels - 0.5)], axis=1)
    model = TextureClassifier()
    model.encoder_ = TwoLayers()
    head = model._best_head(x, labels, groups)
    assert (np.abs(head.functional()[:, 1]).max() > 0) != misleads
    moved = head.scores(x + np.array([0, 5])) - head.scores(x)
    assert np.allclose(moved, 0) == misleads


@pytest.mark.parametrize("head", ["regression", "logistic", "svm", "auto"])
def test_layers_are_compared_with_the_head_that_is_used(head, monkeypatch):
    kinds: list[str] = []
    whole = classifier_module.fit_head
    monkeypatch.setattr(
        classifier_module, "fit_head", lambda *a, kind, **more: kinds.append(kind) or whole(*a, kind=kind, **more)
    )
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 30)
    model = TextureClassifier(head=head)
    model.encoder_ = TwoLayers()
    found = model._best_head(np.stack([labels + rng.normal(size=60)] * 2, axis=1), labels, None)
    assert kinds == [head] * 2  # with and without intensity
    assert found.kind == head or head == "auto"


def test_a_model_of_8_bit_images_refuses_images_in_other_units(patches):
    images, labels, _ = patches
    bytes_ = [np.clip((image + 1000) / 3, 0, 255).astype(np.uint8) for image in images]
    model = TextureClassifier(**SMALL, head="regression").fit(bytes_, labels)
    hounsfield, dark, unit = images[0], bytes_[0].astype(np.uint16), bytes_[0].astype(np.float32) / 255
    for image in (hounsfield, dark, unit):
        with pytest.raises(InputError, match=r"must be an 8-bit image .*, got another type: convert it"):
            model.predict([image])
    TextureClassifier(**SMALL, head="regression").fit(images, labels).predict([images[0], bytes_[0]])
