"""A predictor gives the scores of the study it was exported from, and refuses what is damaged or unknown."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))

from small import make_workspace
from test_regions import LUNG, make

from ildfv.errors import InputError
from ildfv.inference import slice_predictor as module
from ildfv.inference.predictor import Predictor
from ildfv.inference.predictor_location import CARD, INFO, TENSORS
from ildfv.pipeline.encode import encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.workspace import Workspace
from ildfv.store.checksummed import CHECKSUM, write_checksummed


@pytest.fixture(scope="module", params=["slice", "lung"])
def study(request, tmp_path_factory):
    """(workspace, folder of its predictor, region)."""
    from dataclasses import replace

    root = tmp_path_factory.mktemp("study")
    workspace = make_workspace(root / "study") if request.param == "slice" else make(root / "study")
    encode_slices(workspace.root, replace(LUNG, region=request.param))
    regress_encoding(workspace.root, layer="conv1", region=request.param)
    export_predictor(workspace.root, root / "predictor", layer="conv1", region=request.param)
    return workspace, root / "predictor", request.param


def stored_scores(workspace: Workspace):
    (path,) = workspace.results_dir.glob("fv-conv1*-fold-0.json")
    document = json.loads(path.read_text())
    return read_scores(workspace, path.stem, document["scores_sha256"])


@pytest.mark.parametrize("batch", [1, 5, 16])
def test_scores_are_those_of_regress_for_any_batch_size(study, monkeypatch, batch):
    workspace, folder, _ = study
    monkeypatch.setattr(module, "BATCH", batch)
    indices, expected = stored_scores(workspace)
    found = Predictor.load(folder).scores(workspace.slices().images(indices), pixel_area=0.5)
    (scores,) = found.values()
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("batch", [1, 3, 7, 24])
def test_scores_of_a_slice_do_not_depend_on_the_batch(study, monkeypatch, batch):
    workspace, folder, _ = study
    images = workspace.slices().images(np.arange(24))
    expected = Predictor.load(folder).scores(images, pixel_area=0.5)
    monkeypatch.setattr(module, "BATCH", batch)
    found = Predictor.load(folder).scores(images, pixel_area=0.5)
    for name, scores in expected.items():
        np.testing.assert_allclose(found[name], scores, rtol=0, atol=1e-10)


def test_contribution_maps_add_up_to_the_score(study):
    workspace, folder, _ = study
    predictor = Predictor.load(folder)
    images = workspace.slices().images(np.arange(6))
    (head,) = predictor.info.heads
    maps = predictor.contributions(images, 0.5)
    offset = predictor._fisher[head.name].offset
    np.testing.assert_allclose(maps.sum(axis=(2, 3)), predictor.scores(images, 0.5)[head.name] - offset, atol=1e-5)


def test_a_predictor_needs_no_workspace_and_contains_none_of_its_data(study, tmp_path):
    workspace, folder, _ = study
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    Predictor.load(moved).scores(workspace.slices().images(np.arange(2)), 0.5)
    text = (moved / INFO).read_text() + (moved / CARD).read_text()
    for secret in {*workspace.slices().patients.tolist(), *workspace.slices().names, str(workspace.root)}:
        assert secret not in text
    assert "Research use only" in (moved / CARD).read_text()
    assert "generated phantoms" in (moved / CARD).read_text()


def test_only_the_needed_part_of_the_network_is_stored(study):
    from safetensors.numpy import load_file

    names = [name for name in load_file(study[1] / TENSORS) if name.startswith("network.")]
    assert sorted(names) == [
        "network.small.body.conv1.bias",
        "network.small.body.conv1.weight",
        "network.small.mean",
        "network.small.std",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / INFO).unlink(), "has no predictor.json"),
        (lambda folder: (folder / TENSORS).write_bytes(b"x"), r"must be intact, got a checksum mismatch"),
        (lambda folder: edit(folder, version=1), "must have version 2, got 1: run `ildfv export` again"),
        (lambda folder: edit(folder, version=3), "must have version 2, got 3, which a newer .*: update ildfv"),
        (lambda folder: edit(folder, kind="ildfv results"), "must be of kind 'ildfv predictor'"),
        (lambda folder: edit(folder, colour="blue"), r"predictor.json must be intact, got a checksum mismatch"),
        (lambda folder: edit(folder, primary="other"), "copy the predictor again, or run `ildfv export` again"),
        (lambda folder: edit_signed(folder, colour="blue"), "colour: Extra inputs are not permitted"),
        (lambda folder: (folder / INFO).write_text("[1]"), "must be of kind 'ildfv predictor', got None"),
        (lambda folder: (folder / INFO).write_text("{"), "must be JSON"),
    ],
)
def test_damaged_and_unknown_predictors_are_refused(study, tmp_path, change, message):
    folder = shutil.copytree(study[1], tmp_path / "predictor")
    change(folder)
    with pytest.raises(InputError, match=message):
        Predictor.load(folder)


def edit(folder: Path, **changes) -> None:
    content = json.loads((folder / INFO).read_text())
    (folder / INFO).write_text(json.dumps(content | changes))


def edit_signed(folder: Path, **changes) -> None:
    """Adds fields like another version of ildfv, with the correct checksum."""
    content = json.loads((folder / INFO).read_text())
    del content[CHECKSUM]
    write_checksummed(folder / INFO, content | changes)


def test_the_form_of_the_json_does_not_matter(study, tmp_path):
    folder = shutil.copytree(study[1], tmp_path / "predictor")
    (folder / INFO).write_text(json.dumps(json.loads((folder / INFO).read_text()), indent=8))
    Predictor.load(folder)


def test_a_predictor_written_before_the_checksum_and_the_technique_can_be_loaded(study, tmp_path):
    folder = shutil.copytree(study[1], tmp_path / "predictor")
    content = json.loads((folder / INFO).read_text())
    del content[CHECKSUM]
    for name in ("thickness", "air", "kernels", "manufacturers", "residual", "scan_residual"):
        del content["reference"][name]
    (folder / INFO).write_text(json.dumps(content))
    assert Predictor.load(folder).info.reference.residual == {}


def test_export_does_not_write_into_a_folder_with_other_content(study, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="must be new, an empty folder or a predictor, got other files"):
        export_predictor(study[0].root, tmp_path, layer="conv1", region=study[2])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_encoding_that_is_not_scored_is_refused(tmp_path):
    workspace = make_workspace(tmp_path / "study")
    from dataclasses import replace

    encode_slices(workspace.root, replace(LUNG, region="slice"))
    with pytest.raises(
        InputError, match="must have a fitted linear regression, got none: run `ildfv regress --layer conv1 --fold 0`"
    ):
        export_predictor(workspace.root, tmp_path / "predictor")
