"""A frozen network: all of its weights come from the file, and its encoding is named after it."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from ildfv.errors import InputError
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.regress import regress_encoding
from ildfv.train.networks import build, tensors

SETTINGS = EncodeSettings(layer="conv1", components=2, dimensions=4, passes=1)


@pytest.fixture
def weights(tmp_path):
    """Writes the weights of a "small" network, as a pretraining with ten classes would have left them."""

    def write(seed=5, n_outputs=10, without=()):
        values = tensors(build("small", seed=seed, n_outputs=n_outputs))
        kept = {k.removeprefix("body."): v for k, v in values.items() if k not in ("mean", "std", *without)}
        save_file(kept, tmp_path / "weights.safetensors")
        return tmp_path / "weights.safetensors"

    return write


@pytest.mark.slow
def test_a_frozen_network_is_encoded_and_scored_beside_the_trained_one(root, weights):
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
    with pytest.raises(InputError, match="was made with model other than the current ones"):
        encode_slices(root, SETTINGS, network="small", weights=weights(seed=6))


def test_weights_that_are_not_those_of_the_network_are_refused(root, weights, tmp_path):
    with pytest.raises(InputError, match=r"must hold all weights of small, got none for body.conv1.weight"):
        encode_slices(root, SETTINGS, network="small", weights=weights(without=["body.conv1.weight"]))
    save_file(
        {**{k: v for k, v in tensors(build("small")).items()}, "body.conv1.weight": np.zeros((8, 3, 4, 4))},
        tmp_path / "other.safetensors",
    )
    with pytest.raises(InputError, match=r"must hold weights of small, got body.conv1.weight of shape \(8, 3, 4, 4\)"):
        encode_slices(root, SETTINGS, network="small", weights=tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(InputError, match="weights must be a safetensors file"):
        encode_slices(root, SETTINGS, network="small", weights=tmp_path / "text.safetensors")
    with pytest.raises(InputError, match="network and weights must be given together"):
        encode_slices(root, SETTINGS, network="small")
    with pytest.raises(InputError, match="model must not be given with a frozen network"):
        encode_slices(root, SETTINGS, network="small", weights=weights(), model="small")
