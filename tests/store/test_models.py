"""A model is one complete, checksummed file that is never unpickled."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.store.models import INFO, TENSORS, load_info, load_model, save_model, verify_model

TENSORS_IN = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.float64(3.5).reshape(())}


def test_saved_models_are_loaded_unchanged(tmp_path):
    save_model(tmp_path, TENSORS_IN, {"layer": "conv1", "k": 32})
    tensors, info = load_model(tmp_path)
    assert info == {"layer": "conv1", "k": 32} == load_info(tmp_path)
    for name, tensor in TENSORS_IN.items():
        np.testing.assert_array_equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype


def test_equal_models_have_equal_bytes(tmp_path):
    for name in ("one", "two"):
        save_model(tmp_path / name, TENSORS_IN, {"x": 1, "y": 2})
    for file in (TENSORS, INFO):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("where", [-1, -20, 200])
def test_a_flipped_bit_is_found(tmp_path, where):
    save_model(tmp_path, TENSORS_IN, {"note": "x" * 300})
    data = bytearray((tmp_path / TENSORS).read_bytes())
    data[where] ^= 1
    (tmp_path / TENSORS).write_bytes(data)
    assert verify_model(tmp_path)
    with pytest.raises(InputError, match="must be"):
        load_model(tmp_path)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(InputError, match="has no finished model"):
        load_model(tmp_path)


def test_a_file_not_written_by_ildfv_is_refused(tmp_path):
    (tmp_path / TENSORS).write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(InputError, match="written by ildfv"):
        load_model(tmp_path)
