"""Images are refused where maps or descriptors are expected; descriptors and maps of integers are accepted."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from ildfv import PCA, VLAD, BagOfWords, FisherVector, GaussianMixture, LayerUnion, Pooling, SpatialPyramid
from ildfv.errors import InputError
from ildfv.weighted import Weighted

GREY = np.random.default_rng(0).integers(0, 255, (5, 24, 20))
COLOUR = np.random.default_rng(1).integers(0, 255, (5, 24, 20, 3))
ENCODERS = {
    "fisher": FisherVector(n_components=2),
    "vlad": VLAD(2),
    "words": BagOfWords(2),
    "pooling": Pooling("mean"),
    "pyramid": SpatialPyramid(FisherVector(n_components=2)),
    "pyramid of means": SpatialPyramid(Pooling("mean")),
}
IMAGES = {
    "grey uint8": GREY.astype(np.uint8),
    "grey int16": GREY.astype(np.int16),
    "grey uint16": GREY.astype(np.uint16),
    "masks": GREY > 100,
    "grey weighted": Weighted(GREY.astype(np.uint8), np.ones((5, 24))),
    "grey list": list(GREY.astype(np.uint8)),
    "grey unequal": [np.zeros((24, 20), np.int16), np.zeros((25, 21), np.int16)],
    "grey torch": torch.from_numpy(GREY.astype(np.uint8)),
    "colour uint8": COLOUR.astype(np.uint8),
    "colour uint16": COLOUR.astype(np.uint16),
    "colour RGBA": np.zeros((2, 9, 8, 4), np.uint8),
    "colour one channel": COLOUR[..., :1].astype(np.uint8),
    "colour list": list(COLOUR.astype(np.uint8)),
    "colour unequal": [np.zeros((24, 20, 3), np.uint8), np.zeros((25, 20, 3), np.uint8)],
}
REMEDY = "which may be {} images: use ildfv.texture.texture_features or TextureEncoder for images, or convert"


@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("name", ENCODERS)
def test_images_are_refused_with_a_remedy(name, images):
    with pytest.raises(InputError) as error:
        clone(ENCODERS[name]).fit_transform(IMAGES[images])
    assert REMEDY.format(images.split()[0].replace("masks", "grey")) in str(error.value)


def fitted(name, d):
    return clone(ENCODERS[name]).fit(np.random.default_rng(2).normal(size=(6, d, 5, 5)))


@pytest.mark.parametrize("name", ENCODERS)
def test_images_with_as_many_columns_as_features_are_refused_by_transform(name):
    with pytest.raises(InputError, match=r"maps must not be uint8 of shape .*, which may be grey images"):
        fitted(name, GREY.shape[2]).transform(IMAGES["grey uint8"])
    with pytest.raises(InputError, match=r"maps(\[0\])? must not be uint8 of shape .*, which may be colour images"):
        fitted(name, COLOUR.shape[1]).transform(IMAGES["colour list"])


@pytest.mark.parametrize("recipe", [VLAD(2), FisherVector(n_components=2), GaussianMixture(2)], ids=repr)
@pytest.mark.parametrize("images", ["grey uint8", "grey int16", "colour uint8"])
def test_batches_of_images_in_a_stream_are_refused(recipe, images):
    with pytest.raises(InputError, match=r"batch 0 of X must not be u?int.* may be (grey|colour) images"):
        clone(recipe).fit(lambda: iter([IMAGES[images]]))


def test_layers_mixtures_and_principal_components_refuse_images():
    with pytest.raises(InputError, match="may be grey images"):
        LayerUnion(VLAD(2)).fit({"layer": IMAGES["grey uint16"]})
    with pytest.raises(InputError, match="may be grey images"):
        GaussianMixture(2).fit(IMAGES["grey int16"])
    with pytest.raises(InputError, match=r"X must have shape \(m, d\)"):
        PCA(2).fit(IMAGES["grey int16"])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
@pytest.mark.parametrize("name", ["fisher", "vlad", "words", "pooling"])
def test_wide_integers_are_descriptors(name, dtype):
    x = GREY[:, :, :4].astype(dtype)
    for given in (x, list(x)):
        found = clone(ENCODERS[name]).fit_transform(given)
        np.testing.assert_allclose(found, clone(ENCODERS[name]).fit_transform(x * 1.0), atol=1e-9)


@pytest.mark.parametrize("shape", [(3, 6, 9, 8), (3, 64, 7, 4), (3, 3, 9, 3), (3, 9, 9, 5)])
@pytest.mark.parametrize("name", ENCODERS)
def test_maps_of_uint8_and_int16_are_accepted(name, shape):
    x = np.random.default_rng(3).integers(0, 9, shape)
    encoder = clone(ENCODERS[name]).fit(x.astype(np.float64))
    expected = encoder.transform(x.astype(np.float64))
    for dtype in (np.uint8, np.int16):
        for given in (x.astype(dtype), list(x.astype(dtype))):
            np.testing.assert_allclose(encoder.transform(given), expected, atol=1e-4)
            assert clone(ENCODERS[name]).fit_transform(given).shape == expected.shape


@pytest.mark.parametrize("images", [[np.ones((24, 20)), np.ones((25, 21))], [np.ones((8, 9, 3)), np.ones((7, 9, 3))]])
@pytest.mark.parametrize("name", ENCODERS)
def test_an_error_about_the_number_of_features_states_what_to_use_for_images(name, images):
    with pytest.raises(InputError, match=r"texture_features|maps\[0\] must have shape \(d, h, w\)"):
        clone(ENCODERS[name]).fit_transform(images)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_empty_list_is_refused_in_one_line(name):
    with pytest.raises(InputError, match=r"^(X|maps) must contain at least one map, got none$"):
        clone(ENCODERS[name]).fit_transform([])


@pytest.mark.parametrize("estimator", [GaussianMixture(2), PCA(1)], ids=repr)
def test_an_empty_list_of_batches_is_refused_in_one_line(estimator):
    with pytest.raises(InputError, match=r"^X must contain at least one batch, got none$"):
        clone(estimator).fit([])
