"""Pooling inside a region: masks are stored once, descriptors outside it change nothing, empty regions are defined."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import PATIENTS, QUICK, scan

from ildfv import FisherVector, GaussianMixture
from ildfv.datasets.slice_store import write_scan
from ildfv.errors import InputError
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.regions import Region
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.verify import verify_workspace
from ildfv.pipeline.workspace import Workspace
from ildfv.store.models import load_model
from ildfv.store.parts import writing_parts
from ildfv.train import networks
from ildfv.train.activations import Activations
from ildfv.train.networks import load
from ildfv.train.receptive import receptive_fields

LUNG = EncodeSettings(
    layer="conv1", components=4, dimensions=10, passes=2, batch_size=4, region="lung", tolerance=QUICK
)
TOP, BOTTOM, LEFT, RIGHT = 64, 160, 48, 176  # borders of the lung, at multiples of the network's stride of 8


def chest(number: int, *, outside: int = 0):
    """The small scan as lung inside soft tissue whose noise depends on `outside`; the last slice has no lung."""
    one = scan(number)
    images = np.full_like(one.images, 230)  # 43 HU in the normal window
    noise = np.random.default_rng([number, outside]).integers(-8, 9, images.shape)
    images = np.clip(images + noise, 0, 255).astype(np.uint8)
    lung = np.s_[:-1, :, TOP:BOTTOM, LEFT:RIGHT]
    images[lung] = one.images[lung]
    images[..., :8, :] = images[..., -8:, :] = images[..., :, :8] = images[..., :, -8:] = 0  # air around the body
    return replace(one, images=images)


def make(root: Path, outside: int = 0) -> Workspace:
    workspace = Workspace.open_or_create(root, version="test", salt="0123456789abcdef", folds=4)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(PATIENTS):
            row = write_scan(workspace.slices_dir, chest(number, outside=outside))
            parts.add(replace(row, order=""))  # sorted by name: pixels outside the lung must not change the order
    write_folds(workspace)
    networks.save(workspace.model_dir("small", 0), networks.build("small", seed=1), {"kind": "network"})
    return workspace


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    workspace = make(tmp_path_factory.mktemp("region") / "study")
    return workspace, encode_slices(workspace.root, LUNG)


def test_masks_are_those_of_the_lung(encoded):
    workspace, _ = encoded
    masks = Region(workspace.root, workspace.slices(), "lung").masks(np.array([0, 5, 7]))
    expected = np.zeros((224, 224), bool)
    expected[TOP:BOTTOM, LEFT:RIGHT] = True
    # Masks may be smaller, because pixels of rough textures at the edge may be denser than lung.
    for mask in masks[[0, 2]]:
        assert not (mask & ~expected).any()
        assert mask[expected].mean() > 0.98
    assert not masks[1].any()  # the last slice of the first scan


def test_vectors_are_those_of_the_weighted_descriptors(encoded):
    workspace, info = encoded
    slices, folder = workspace.slices(), workspace.encoding_dir("conv1", 0, "lung")
    network = load(workspace.model_dir("small", 0), "cpu")
    indices = np.arange(6)
    maps = Activations(network, "conv1")(slices.images(indices))
    weights = receptive_fields(network, "conv1").shares(Region(workspace.root, slices, "lung").masks(indices))
    mixture = GaussianMixture.from_tensors(*load_model(folder / "mixture"))
    expected = np.asarray(FisherVector(mixture).transform(maps, weights=weights))
    found = Encoding(folder).fisher_vectors(slices.names[0])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not found[5].any()  # a slice without lung
    assert info["region"] == "lung"
    assert info["inputs"]["region"] == "lung"


@pytest.mark.slow
def test_pixels_outside_the_lung_change_nothing(encoded, tmp_path):
    workspace, _ = encoded
    other = make(tmp_path / "other", outside=1)
    encode_slices(other.root, LUNG)
    a, b = (Encoding(w.encoding_dir("conv1", 0, "lung")).projections() for w in (workspace, other))
    np.testing.assert_allclose(a, b, atol=1e-6)
    whole = replace(LUNG, region="slice")
    a, b = (encode_slices(w.root, whole) and Encoding(w.encoding_dir("conv1", 0)) for w in (workspace, other))
    assert np.abs(a.projections() - b.projections()).max() > 1e-3


@pytest.mark.slow
def test_two_regions_can_be_encoded_and_scored_in_one_workspace(encoded):
    workspace, _ = encoded
    encode_slices(workspace.root, replace(LUNG, region="body"))
    for region, system in (("lung", "fv-conv1-lung"), ("body", "fv-conv1-body")):
        results = regress_encoding(workspace.root, layer="conv1", region=region)
        assert results.system == system
        assert results.settings["regress"]["region"] == region
    assert verify_workspace(workspace.root)["faults"] == []


def test_a_finished_encoding_of_the_whole_slice_does_not_record_a_region(encoded):
    workspace, _ = encoded
    info = encode_slices(workspace.root, replace(LUNG, region="slice"))
    assert "region" not in info["inputs"]
    assert info["region"] == "slice"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region": "liver"}, 'region must be slice, body or lung, got "liver"'),
        ({"region": "lung", "lungs": "guess"}, "lungs must be rule or lungmask"),
    ],
)
def test_unknown_regions_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        EncodeSettings(**options)
