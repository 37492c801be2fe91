"""Options of all encoders: maps of unequal size, layers, the signed power and intra-normalisation."""

import numpy as np
import pytest
from sklearn.base import clone

from ildfv import VLAD, BagOfWords, FisherVector, GaussianMixture, LayerUnion, Pooling, SpatialPyramid
from ildfv.errors import InputError

K, D = 3, 4
RANDOM = np.random.default_rng(0)
MIXTURE = GaussianMixture.from_parameters(np.full(K, 1 / K), RANDOM.normal(size=(K, D)), np.ones((K, D)))
ENCODERS = [
    FisherVector(MIXTURE),
    VLAD(centres=MIXTURE.means_),
    BagOfWords(centres=MIXTURE.means_),
    Pooling("max"),
    SpatialPyramid(FisherVector(MIXTURE)),
]


def ragged(seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(D, h, w)) for h, w in ((4, 5), (7, 3), (4, 4))]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: type(e).__name__)
def test_maps_of_unequal_size_are_encoded_as_if_each_was_alone(encoder):
    maps = ragged()
    expected = np.concatenate([encoder.transform(one[None]) for one in maps])
    np.testing.assert_allclose(encoder.transform(maps), expected, atol=1e-12)
    weights = [np.arange(1.0, 1 + one[0].size) for one in maps]
    expected = np.concatenate(
        [encoder.transform(one[None], weights=w[None]) for one, w in zip(maps, weights, strict=True)]
    )
    np.testing.assert_allclose(encoder.transform(maps, weights=weights), expected, atol=1e-12)


@pytest.mark.parametrize("recipe", [VLAD(2), BagOfWords(2), FisherVector(n_components=2)], ids=repr)
def test_fitting_a_list_of_maps_equals_fitting_its_descriptors(recipe):
    maps = ragged()
    rows = [one.reshape(D, -1).T for one in maps]
    found, expected = clone(recipe).fit(maps), clone(recipe).fit(rows)
    np.testing.assert_array_equal(found.transform(maps), expected.transform(rows))


@pytest.mark.parametrize(
    "make", [lambda **o: FisherVector(MIXTURE, **o), lambda **o: VLAD(centres=MIXTURE.means_, **o)]
)
def test_intra_normalisation_gives_every_component_the_same_norm(make):
    maps = np.random.default_rng(2).normal(size=(2, 60, D))
    found = make(intra=True).transform(maps).reshape(2, K, -1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), K**-0.5)
    plain = make().transform(maps).reshape(2, K, -1)
    np.testing.assert_allclose(found * K**0.5, plain / np.linalg.norm(plain, axis=2, keepdims=True))


def test_intra_normalisation_does_not_depend_on_the_order_of_values():
    maps = np.random.default_rng(2).normal(size=(2, 60, D))
    options = {"intra": True, "weight_part": True}
    by_component = FisherVector(MIXTURE, **options)
    by_moment = FisherVector(MIXTURE, order="moment", **options)
    place = {name: i for i, name in enumerate(by_moment.get_feature_names_out())}
    indices = [place[name] for name in by_component.get_feature_names_out()]
    np.testing.assert_allclose(by_component.transform(maps), by_moment.transform(maps)[:, indices])


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: FisherVector(MIXTURE, **o),
        lambda **o: VLAD(centres=MIXTURE.means_, **o),
        lambda **o: BagOfWords(centres=MIXTURE.means_, **o),
    ],
)
def test_the_power_is_applied_before_the_norm(make):
    maps = np.random.default_rng(2).normal(size=(2, 60, D))
    one, third = make(power=1.0).transform(maps), make(power=0.3).transform(maps)
    expected = np.sign(one) * np.abs(one) ** 0.3
    np.testing.assert_allclose(third, expected / np.linalg.norm(expected, axis=1, keepdims=True))
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1)
    with pytest.raises(InputError, match=r"power must be in \(0, 1\], got 0"):
        make(power=0).transform(maps)


def test_each_layer_has_a_separate_encoder():
    layers = {"a": ragged(), "b": [one[:2] + 1 for one in ragged(3)]}
    union = LayerUnion(FisherVector(n_components=2)).fit(layers)
    found = union.transform({"b": layers["b"], "a": layers["a"]})
    parts = [FisherVector(n_components=2).fit(maps).transform(maps) for maps in layers.values()]
    np.testing.assert_allclose(found, np.concatenate(parts, axis=1) / 2**0.5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)


def test_layers_with_different_slices_or_names_are_refused():
    union = LayerUnion(Pooling("mean")).fit({"a": ragged()})
    with pytest.raises(InputError, match="layers must be a as in fit, got b"):
        union.transform({"b": ragged()})
    with pytest.raises(InputError, match="X must be a dict of layers to maps, got list"):
        union.transform(ragged())
    union = LayerUnion(Pooling("mean")).fit({"a": ragged(), "b": ragged()})
    with pytest.raises(InputError, match=r"same number of images, got \[2, 3\]"):
        union.transform({"a": ragged(), "b": ragged()[:2]})
