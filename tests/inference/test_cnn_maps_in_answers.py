"""Grad-CAM and occlusion of a predictor's network: files, page and viewer, and one line where it is not possible."""

import sys

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("captum")

from scan_files import ScanFiles

from ildfv.cli.app import app
from ildfv.errors import InputError, MissingPackageError
from ildfv.inference.cnn_maps import grad_cam, occlusion
from ildfv.inference.cnn_methods import GRAD_CAM, OCCLUSION
from ildfv.inference.inbox import predict_all
from ildfv.inference.predictor import Predictor
from ildfv.viewer.maps import maps_in


@pytest.fixture(scope="module")
def with_network(folder):
    """The predictor of `folder` with the outputs of its whole network as a second head."""
    from small import small  # registers the network
    from torch import nn

    from ildfv.train import networks

    assert small
    loaded = Predictor.load(folder)
    net = networks.build("small", seed=1).normalise(np.full(3, 100.0), np.full(3, 50.0))
    assert isinstance(net.body.out, nn.Linear)
    state = {f"network.whole.{name}": value.numpy() for name, value in net.state_dict().items()}
    info, head = loaded.info, loaded.info.heads[0]
    whole = info.networks["small"].model_copy(update={"layer": None})
    cnn = head.model_copy(update={"name": "cnn-whole", "kind": "cnn", "network": "whole", "parts": []})
    info = info.model_copy(update={"networks": {**info.networks, "whole": whole}, "heads": [head, cnn]})
    return Predictor(info, {**loaded.tensors, **state}, checksum=loaded.checksum)


@pytest.fixture(scope="module")
def written(with_network, tmp_path_factory):
    """(answer, the folder with its files, the scan)."""
    root = tmp_path_factory.mktemp("cam")
    ScanFiles.nifti(root / "ct.nii.gz", ScanFiles.chest(3))
    (answer,), failed = predict_all([root / "ct.nii.gz"], with_network, out=root / "out", cnn_maps=GRAD_CAM)
    assert failed == []
    return answer, root / "out" / answer["scan"], root / "ct.nii.gz"


def test_maps_of_every_pattern_are_written_on_the_scans_grid(written, with_network):
    answer, folder, scan = written
    assert (answer["cnn_maps"], answer["cnn_maps_head"]) == ("grad-cam", "cnn-whole")
    assert answer["cam_head"] == "cnn-whole"  # the field of earlier versions
    assert "Grad-CAM (Selvaraju" in answer["methods"]
    images = with_network.predict(scan).images
    expected = grad_cam(with_network.layers.network("whole"), images).sum(axis=(2, 3))  # (m, C)
    assert (np.abs(expected) > 0).any()
    for c, pattern in enumerate(answer["patterns"]):
        image = nibabel.load(folder / f"{pattern.replace(' ', '-')}-cam.nii.gz")
        assert image.shape == nibabel.load(scan).shape
        np.testing.assert_allclose(image.get_fdata().sum(axis=(0, 1)), expected[:, c], rtol=1e-3, atol=1e-4)
    assert len(list(folder.glob("*-cam-slice-*.png"))) == 4
    assert len(list(folder.glob("*-contributions.nii.gz"))) == 4


def test_the_viewer_reads_them(written):
    answer, folder, _ = written
    shape = (answer["slices"], answer["rows"], answer["columns"])
    kinds = [one.path.name for one in maps_in(folder, answer["patterns"], shape, 4.0) if one.kind == "cam"]
    assert len(kinds) == 4


def test_the_page_says_that_they_do_not_add_up(written):
    page = (written[1] / "prediction.html").read_text()
    assert "the highest score of cnn-whole" in page
    assert "These maps do not add up to the score." in page
    assert page.count('alt="Grad-CAM of') == 4


def test_maps_do_not_depend_on_the_batch(with_network, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 224, 224)).astype(np.uint8)
    together = with_network.cnn_maps(images)
    monkeypatch.setattr("ildfv.inference.slice_predictor.BATCH", 1)
    np.testing.assert_allclose(with_network.cnn_maps(images), together, atol=1e-9)


def test_a_predictor_without_a_network_head_is_refused_before_the_scan_is_read(folder, tmp_path):
    with pytest.raises(InputError, match="needs a predictor with a CNN head, got fv-conv1: run `ildfv export --cnn`"):
        predict_all([tmp_path / "missing"], folder, cnn_maps=GRAD_CAM)


def test_without_captum_the_message_names_the_extra(with_network, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingPackageError, match=r"ildfv\[evidence\]"):
        predict_all([tmp_path / "missing"], with_network, cnn_maps=GRAD_CAM)


def test_a_finished_answer_without_maps_is_not_taken_for_one_with_them(with_network, written, tmp_path):
    _, _, scan = written
    first, _ = predict_all([scan], with_network, out=tmp_path / "out")
    assert first[0]["cam_head"] is None
    _, failed = predict_all([scan], with_network, out=tmp_path / "out", cnn_maps=GRAD_CAM)
    assert (
        "was written without --cnn-maps grad-cam: give another --out, or replace it with --fresh" in failed[0]["reason"]
    )


def test_the_option_needs_a_folder_for_the_maps(folder, tmp_path):
    result = CliRunner().invoke(app, ["predict", str(tmp_path), "--predictor", str(folder), "--cam"])
    assert result.exit_code != 0
    assert "--cam needs --out" in str(result.exception) + result.output


@pytest.fixture(scope="module")
def occluded(with_network, written, tmp_path_factory):
    """(answer, the folder with its files, the scan), with occlusion maps."""
    root = tmp_path_factory.mktemp("occlusion")
    (answer,), failed = predict_all([written[2]], with_network, out=root, cnn_maps=OCCLUSION)
    assert failed == []
    return answer, root / answer["scan"], written[2]


@pytest.mark.slow
def test_occlusion_maps_have_the_mean_decrease_of_the_score_on_the_scans_grid(occluded, with_network):
    answer, folder, scan = occluded
    assert (answer["cnn_maps"], answer["cnn_maps_head"], answer["cam_head"]) == ("occlusion", "cnn-whole", None)
    assert "computed by occlusion (Zeiler and Fergus 2014): squares of 32 × 32" in answer["methods"]
    expected = occlusion(with_network.layers.network("whole"), with_network.predict(scan).images)  # (m, C, 224, 224)
    assert np.abs(expected).max() > 0
    for c, pattern in enumerate(answer["patterns"]):
        image = nibabel.load(folder / f"{pattern.replace(' ', '-')}-occlusion.nii.gz")
        assert image.shape == nibabel.load(scan).shape
        assert image.header["intent_name"].item() == b"occlusion"
        # averages, not sums, are preserved: the value of a pixel is a difference of scores
        np.testing.assert_allclose(
            image.get_fdata().mean(axis=(0, 1)), expected[:, c].mean(axis=(1, 2)), rtol=1e-3, atol=1e-6
        )
    assert len(list(folder.glob("*-occlusion-slice-*.png"))) == 4
    assert not list(folder.glob("*-cam*"))


@pytest.mark.slow
def test_page_and_viewer_name_occlusion(occluded):
    answer, folder, _ = occluded
    page = (folder / "prediction.html").read_text()
    assert "<h2>Occlusion</h2>" in page
    assert "squares of 32 × 32 of the 224 × 224 input pixels" in page
    assert page.count('alt="Occlusion of') == 4
    shape = (answer["slices"], answer["rows"], answer["columns"])
    maps = [one for one in maps_in(folder, answer["patterns"], shape, 4.0) if one.kind == "occlusion"]
    assert len(maps) == 4
    assert {one.unit for one in maps} == {"score"}
    values = nibabel.load(maps[0].path).get_fdata()
    assert maps[0].describe()["scale"] <= np.abs(values).max() * 1.001  # not multiplied by an area


@pytest.mark.slow
def test_maps_of_another_method_are_refused_or_replaced(with_network, written, tmp_path):
    scan = written[2]
    (answer,), _ = predict_all([scan], with_network, out=tmp_path, cnn_maps=GRAD_CAM)
    _, failed = predict_all([scan], with_network, out=tmp_path, cnn_maps=OCCLUSION)
    assert "was written without --cnn-maps occlusion: give another --out, or replace it" in failed[0]["reason"]
    predict_all([scan], with_network, out=tmp_path, fresh=True)
    assert not list((tmp_path / answer["scan"]).glob("*-cam*"))  # maps of the earlier prediction


def test_an_unknown_method_and_two_methods_are_refused(tmp_path):
    for given, message in (
        (["--cnn-maps", "lime"], '--cnn-maps must be grad-cam or occlusion, got "lime"'),
        (["--cnn-maps", "occlusion", "--cam"], "--cam means --cnn-maps grad-cam, got --cnn-maps occlusion"),
        (["--cnn-maps", "occlusion"], "--cnn-maps needs --out and cannot be used with --follow-up"),
    ):
        result = CliRunner().invoke(app, ["predict", str(tmp_path), "--predictor", str(tmp_path), *given])
        assert message in str(result.exception) + result.output
