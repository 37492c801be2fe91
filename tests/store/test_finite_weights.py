"""Weights with NaN or infinity are refused when they are read, in one line with the file and the tensor."""

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ildfv.errors import InputError
from ildfv.store.atomic import sha256
from ildfv.store.checksummed import read_checksummed, write_checksummed
from ildfv.store.tensors import read_tensors

sys.path += [str(Path(__file__).parents[1] / name) for name in ("pipeline", "inference", "train")]


def spoil(path, name, value=np.nan):
    """Replaces one number of a tensor of a safetensors file."""
    tensors = {key: tensor.copy() for key, tensor in load_file(path).items()}
    tensors[name].reshape(-1)[3] = value
    save_file(tensors, path)


def refusal(call, *args, **options):
    with pytest.raises(InputError) as error:
        call(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_line_names_file_and_tensor(tmp_path, value, dtype):
    path = tmp_path / "w.safetensors"
    save_file({"a": np.arange(4), "b": np.full(4, 2, dtype)}, path)
    assert set(read_tensors(path)) == {"a", "b"}
    spoil(path, "b", value)
    line = refusal(read_tensors, path)
    assert line.startswith(f"{path} must contain finite numbers, got NaN or infinity in 'b': use other weights")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no weights")
    assert "weights must be a safetensors file" in refusal(read_tensors, tmp_path / "text")
    assert "which is not a file" in refusal(read_tensors, tmp_path / "none")


def test_initial_weights_of_a_training_run(tmp_path):
    from train_support import MemorySlices

    from ildfv.train import networks
    from ildfv.train.trainer import TrainSettings, train

    path, slices = tmp_path / "w.safetensors", MemorySlices()
    save_file(networks.tensors(networks.build("tiny")), path)
    spoil(path, "body.conv2.weight")
    settings = TrainSettings(network="tiny", weights=str(path), epochs=1)
    line = refusal(train, settings, slices, np.arange(40), np.arange(40, 60), tmp_path / "model")
    assert f"{path} must contain finite numbers, got NaN or infinity in 'body.conv2.weight'" in line
    assert not slices.touched


def test_weights_of_a_frozen_network(tmp_path):
    from train_support import MemorySlices

    from ildfv.pipeline.frozen import frozen_network
    from ildfv.progress import SILENT
    from ildfv.train import networks

    path, slices = tmp_path / "w.safetensors", MemorySlices()
    values = networks.tensors(networks.build("tiny"))
    save_file({name: value for name, value in values.items() if name not in ("mean", "std")}, path)
    spoil(path, "body.conv1.bias", np.inf)
    line = refusal(frozen_network, "tiny", path, slices, np.arange(40), "cpu", SILENT)
    assert f"{path} must contain finite numbers, got NaN or infinity in 'body.conv1.bias'" in line
    assert not slices.touched


def test_weights_of_a_texture_backbone(tmp_path):
    from torch import nn

    from ildfv.texture.networks import _load

    body, path = nn.Sequential(nn.Conv2d(3, 4, 3), *(nn.Conv2d(4, 4, 3) for _ in range(5))), tmp_path / "w.safetensors"
    save_file({name: value.numpy() for name, value in body.state_dict().items()}, path)
    _load(body, path)
    spoil(path, "1.weight")
    assert f"{path} must contain finite numbers, got NaN or infinity in '1.weight'" in refusal(_load, body, path)


def test_a_predictor(tmp_path):
    from ildfv.inference.predictor_files import read_predictor
    from ildfv.inference.predictor_location import INFO, TENSORS

    info = minimal_predictor(tmp_path)
    read_predictor(tmp_path)
    spoil(tmp_path / TENSORS, "head.one.coef", np.inf)
    write_checksummed(tmp_path / INFO, info | {"tensors_sha256": sha256(tmp_path / TENSORS)})
    line = refusal(read_predictor, tmp_path)
    assert f"{tmp_path / TENSORS} must contain finite numbers, got NaN or infinity in 'head.one.coef'" in line


def minimal_predictor(folder):
    """Writes a predictor whose heads cannot be used, and returns the content of predictor.json."""
    from ildfv.inference.predictor_files import write_predictor
    from ildfv.inference.predictor_location import KIND, VERSION
    from ildfv.inference.schema import USE, PredictorInfo
    from ildfv.patterns import PATTERNS
    from ildfv.scans.windows import SIZE, WINDOWS

    info = PredictorInfo(
        kind=KIND,
        version=VERSION,
        use=USE,
        patterns=list(PATTERNS),
        windows=list(WINDOWS),
        size=SIZE,
        networks={},
        encodings={},
        heads=[],
        primary="one",
        reference={"log_likelihood": {}, "pixel_side": (0.5, 0.9), "spacing": None},
        training={},
        versions={},
        tensors_sha256="",
    )
    write_predictor(folder, info, {"head.one.coef": np.ones((4, 5))}, lambda _: "")
    return read_checksummed(folder / "predictor.json")


def test_a_predictor_keeps_the_shapes_of_its_tensors(tmp_path):
    """Batch normalisation counts its batches in an array without dimensions."""
    from ildfv.inference.predictor_files import read_predictor, write_predictor

    minimal_predictor(tmp_path / "one")
    info, _, _ = read_predictor(tmp_path / "one")
    given = {"number": np.array(3), "transposed": np.arange(6.0).reshape(2, 3).T}
    write_predictor(tmp_path / "two", info, given, lambda _: "")
    _, found, _ = read_predictor(tmp_path / "two")
    for name, tensor in given.items():
        np.testing.assert_array_equal(found[name], tensor)
        assert found[name].shape == tensor.shape


def test_bfloat16_weights_are_refused_in_one_line(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    save_torch({"weight": torch.ones(4, dtype=torch.bfloat16)}, tmp_path / "w.safetensors")
    line = refusal(read_tensors, tmp_path / "w.safetensors")
    assert "weights must have a data type that NumPy supports, such as float32" in line
    assert "w.safetensors" in line
