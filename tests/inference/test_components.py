"""Components: parts add up to the score, patches are the nearest ones, and frames show their receptive fields."""

import numpy as np
import pytest

from ildfv import FisherVector, GaussianMixture
from ildfv.inference.components import FRAME, Patch, mean_component_scores, nearest_patches, picture
from ildfv.train.receptive import ReceptiveFields

D, H, M, K = 5, 14, 12, 3


@pytest.fixture(scope="module")
def study():
    """(mixture, maps by slice, receptive fields of 16 pixels); "images" are the numbers of their slices."""
    rng = np.random.default_rng(0)
    mixture = GaussianMixture.from_parameters(
        rng.dirichlet(np.ones(K) * 5), rng.normal(size=(K, D)), np.exp(0.4 * rng.normal(size=(K, D)))
    )
    seen = np.arange(224) // 16 == np.arange(H)[:, None]
    return mixture, rng.normal(size=(M, D, H, H)), ReceptiveFields(seen, seen)


def test_patches_are_the_nearest_of_each_patient(study):
    mixture, maps, fields = study
    owners = [f"p{i % 4}" for i in range(M)]
    found = nearest_patches(mixture, lambda i: maps[i], fields, lambda i: i, np.arange(M), owners, count=3)
    t = (maps[:, None] - mixture.means_[:, :, None, None]) / np.sqrt(mixture.variances_)[:, :, None, None]
    distance = np.sqrt((t**2).mean(axis=2))  # (m, k, h, w)
    for k in range(K):
        nearest = {p: min((distance[i, k].min(), i) for i in range(M) if owners[i] == p) for p in set(owners)}
        assert [patch.index for patch in found[k]] == [i for _, i in sorted(nearest.values())[:3]]
        for patch in found[k]:
            row, column = np.unravel_index(distance[patch.index, k].argmin(), (H, H))
            assert patch.rows == (16 * row, 16 * row + 16)
            assert patch.columns == (16 * column, 16 * column + 16)
            assert patch.distance == pytest.approx(distance[patch.index, k].min())


def test_mean_parts_add_up_to_the_mean_score(study):
    mixture, maps, _ = study
    fisher, g = FisherVector(mixture), np.random.default_rng(1).normal(size=(4, 2 * K * D))
    means, deviations = mean_component_scores(fisher, g, lambda i: maps[i], lambda i: i, np.arange(M))
    assert means.shape == deviations.shape == (4, K)
    np.testing.assert_allclose(means.sum(axis=1), (fisher.transform(maps) @ g.T).mean(axis=0), atol=1e-10)


@pytest.mark.parametrize("rows", [(0, 11), (100, 111), (213, 224), (30, 193)])
def test_a_picture_shows_the_framed_field(rows):
    image = np.zeros((3, 224, 224), np.uint8)
    image[1, rows[0] : rows[1], 50:61] = 200
    found = picture(image, Patch(0, rows, (50, 61), 0.1))
    assert min(found.shape[:2]) >= 48
    assert (found == FRAME).all(axis=2).any()
    inside = (found == 200).all(axis=2).sum()
    framed = 11 * sum((rows[0] == 0, rows[1] == 224))  # at the border the frame is drawn on the field
    assert inside == (rows[1] - rows[0]) * 11 - framed
