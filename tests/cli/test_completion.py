"""Completion in the shell: layers, workspaces and predictors, without loading torch or NumPy."""

import json
import subprocess
import sys

import pytest

from ildfv.cli.app import app
from ildfv.train.layer_names import OF_NETWORK, UNTRAINED

CNNF = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "filters", "patches"]


@pytest.fixture
def completed(capsys, monkeypatch):
    """A function: what bash shows for a line whose last word is incomplete."""

    def complete(line: str, cwd) -> list[str]:
        monkeypatch.chdir(cwd)
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_ILDFV_COMPLETE": "complete_bash"}
        for name, value in words.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            app(prog_name="ildfv", standalone_mode=False)
        shown = capsys.readouterr()
        assert (ended.value.code, shown.err) == (0, "")
        return shown.out.split()

    return complete


def touch(path, content="") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def folder(tmp_path):
    """A folder with two workspaces and two predictors."""
    touch(tmp_path / "study/workspace.toml")
    touch(tmp_path / "studies/second/workspace.toml")
    touch(tmp_path / "studies/my own/workspace.toml")
    touch(tmp_path / ".hidden/workspace.toml")
    touch(tmp_path / "predictor/predictor.json")
    touch(tmp_path / "studies/second/exported/predictor.json")
    touch(tmp_path / "notes.txt")
    return tmp_path


def test_workspaces_are_folders_with_settings(completed, folder):
    assert completed("ildfv stats -w ", folder) == ["studies/second", "study"]
    assert completed("ildfv stats --workspace study", folder) == ["study"]
    assert completed("ildfv experiment losses -w studies/", folder) == ["studies/second"]
    assert completed("ildfv stats -w ", folder / "study") == ["."]
    assert completed(f"ildfv stats -w {folder}/st", folder / "study") == [f"{folder}/studies/second", f"{folder}/study"]
    assert completed("ildfv stats -w n", folder) == []
    assert completed("ildfv stats -w nowhere/", folder) == []


def test_predictors_are_folders_with_a_description(completed, folder):
    assert completed("ildfv predict scan --predictor ", folder) == ["predictor"]
    assert completed("ildfv predict scan -p studies/", folder) == ["studies/second/exported"]


def test_layers_without_a_workspace_are_those_of_the_default_network(completed, tmp_path):
    assert completed("ildfv encode --layer ", tmp_path) == CNNF
    assert completed("ildfv encode --layer fc", tmp_path) == ["fc6", "fc7"]
    assert completed("ildfv encode --layer conv1+pa", tmp_path) == ["conv1+patches"]


def test_layers_are_those_of_the_network(completed, folder):
    recorded = {"network": "timm:resnet18", "layers": ["conv1", "layer1"]}
    touch(folder / "study/models/own/fold-0/model.json", json.dumps(recorded))
    touch(folder / "study/models/vgg/fold-0/model.json", json.dumps({"network": "vgg19"}))  # of an earlier version
    touch(folder / "study/models/broken/fold-0/model.json", "{")
    assert completed("ildfv encode -w study --layer layer", folder) == ["layer1"]
    assert completed("ildfv encode -w study --model own --layer ", folder) == ["conv1", "layer1", *UNTRAINED]
    assert completed("ildfv encode -w study --model vgg --layer conv5", folder) == [f"conv5_{i}" for i in range(1, 5)]
    assert completed("ildfv encode -w study --model broken --layer ", folder) == CNNF
    assert completed("ildfv encode --network efficientnet-lite0 --layer block1", folder) == [
        "block1",
        "block11",
        "block16",
    ]
    assert completed("ildfv encode --network timm:resnet18 --layer ", folder) == list(UNTRAINED)


def test_layers_of_later_commands_are_those_that_are_encoded(completed, folder):
    for name in ("conv5", "conv1", "conv1-lung", "filters"):
        touch(folder / f"study/encodings/{name}/fold-0/encoding.json")
    touch(folder / "study/encodings/conv2/fold-0/pca/model.json")  # unfinished
    assert completed("ildfv regress -w study --layer ", folder) == ["conv1", "conv1-lung", "conv5", "filters"]
    assert completed("ildfv regress -w study --layer filters+conv5", folder) == ["filters+conv5"]
    assert completed("ildfv regress -w study --region lung --layer ", folder) == ["conv1"]
    assert completed("ildfv export -w study --layer f", folder) == ["filters"]
    assert completed("ildfv components -w study --layer conv5", folder) == ["conv5"]
    assert completed("ildfv similar scan -w study --layer fi", folder) == ["filters"]


def test_systems_are_those_with_results_except_baselines(completed, folder):
    for name in ("fv-conv1-fold-0", "fv-conv1-fold-1", "fv-conv1-lung-ridge-fold-0", "cnn-cnnf-fold-0"):
        touch(folder / f"study/results/{name}.json")
    touch(folder / "study/results/baseline-p15-fold-0.json")
    assert completed("ildfv export -w study --system ", folder) == ["cnn-cnnf", "fv-conv1", "fv-conv1-lung-ridge"]
    assert completed("ildfv export -w study --system fv-conv1-", folder) == ["fv-conv1-lung-ridge"]


def test_completion_loads_neither_torch_nor_numpy():
    code = "import sys; from ildfv.cli import app, completion; print({'torch', 'numpy', 'pydicom'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("name", ["cnnf", "vgg19"])
def test_the_table_of_layers_is_that_of_the_networks(name):
    import torch

    from ildfv.train.networks import NETWORKS

    with torch.device("meta"):
        _, layers = NETWORKS[name](4)
    assert list(layers) == list(OF_NETWORK[name])


def test_a_saved_network_records_its_layers(tmp_path):
    from ildfv.train.networks import build, save

    save(tmp_path, build("patch"), {})
    assert json.loads((tmp_path / "model.json").read_text())["layers"] == ["conv1", "conv2", "conv3", "fc4"]
