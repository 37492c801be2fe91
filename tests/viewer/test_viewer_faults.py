"""The viewer: errors for damaged or missing files, and for paths and predictions that do not belong together."""

import gzip
import json
import shutil

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless
from scan_files import ScanFiles
from viewer_support import SLICES, client, make_prediction

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.viewer.maps import slices_of
from ildfv.viewer.study import open_study

pytest.importorskip("httpx")  # needed by the test client of Starlette
TestClient = pytest.importorskip("starlette.testclient").TestClient


def test_a_slice_whose_file_is_missing_gives_a_one_line_error_and_the_others_are_shown(scan, tmp_path):
    copy = shutil.copytree(scan / "ct", tmp_path / "ct")
    with client(copy) as one:
        victim = next(iter(copy.glob("*.dcm")))
        victim.unlink()
        answers = [one.get(f"api/scan/0/slice/{z}") for z in range(SLICES)]
        assert sorted(answer.status_code for answer in answers) == [200] * 4 + [422]
        (reason,) = [answer.json()["error"] for answer in answers if answer.status_code == 422]
        assert "it was removed or renamed" in reason
        assert str(tmp_path) not in reason


def test_images_are_refused_with_the_command_that_shows_them(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "slice.png")
    for path in (tmp_path, tmp_path / "slice.png"):
        with pytest.raises(InputError, match=r"got PNG, JPEG or TIFF images, which `ildfv view` does not show"):
            open_study([path])


def test_a_damaged_slice_gives_a_one_line_error(scan, tmp_path):
    copy = shutil.copytree(scan / "ct", tmp_path / "ct")
    with client(copy) as one:
        for victim in copy.glob("*.dcm"):
            victim.write_bytes(victim.read_bytes()[:-2000])
        answer = one.get("api/scan/0/slice/0")
        assert answer.status_code == 422
        assert "pixels must be decodable" in answer.json()["error"]


def test_a_missing_decoder_is_named(scan, tmp_path, monkeypatch):
    copy = shutil.copytree(scan / "ct", tmp_path / "ct")
    for path in copy.glob("*.dcm"):
        dataset = dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    monkeypatch.setattr("ildfv.scans.pixels.can_decode", lambda syntax: False)
    with client(copy) as one:
        answer = one.get("api/scan/0/slice/0")
    assert answer.status_code == 422
    assert "is required for RLE Lossless" in answer.json()["error"]


@pytest.mark.parametrize("kind", ["truncated", "other grid", "NaN", "no gzip"])
def test_a_damaged_map_gives_a_one_line_error_and_slices_are_shown(kind, scan, tmp_path):
    from ildfv.inference.outputs import write_map

    folder = make_prediction(tmp_path / "answer", scan)
    path = folder / "ground-glass-contributions.nii.gz"
    geometry = discover(scan, labels=False, workers=1).scans[0].geometry
    if kind == "truncated":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:50_000]))
    if kind == "other grid":
        import nibabel

        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.diag([-1, -1, 1, 1])), path)
    if kind == "NaN":
        write_map(path, np.full((SLICES, 224, 224), np.nan), geometry)
    if kind == "no gzip":
        path.write_bytes(b"no gzip")
    with client(folder, scan) as one:
        for address in ("api/scan/0/map/0", "api/scan/0/map/0/0"):
            answer = one.get(address)
            assert answer.status_code == 422
            assert path.name in answer.json()["error"]
        assert one.get("api/scan/0/slice/0").status_code == 200


def test_a_scaled_map_is_refused_with_its_slope_and_intercept(tmp_path):
    import nibabel

    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), np.diag([-1, -1, 1, 1]))
    path = tmp_path / "emphysema-contributions.nii"
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([2, 1], np.float32).tobytes()  # scl_slope, scl_inter
    path.with_suffix(".nii.gz").write_bytes(gzip.compress(content))
    with pytest.raises(InputError, match=r"must not be scaled, got slope 2 and intercept 1"):
        list(slices_of(path.with_suffix(".nii.gz"), (6, 5, 4)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c | {"kind": "other"}, "must be of kind"),
        (lambda c: c | {"version": 99}, "must have version"),
        (lambda c: {k: v for k, v in c.items() if k != "heads"}, "must be a valid prediction"),
        (
            lambda c: c | {"heads": {"a": {"scan": {}, "per_slice": {"scores": [[1]], "probability": [[1]]}}}},
            "must have",
        ),
        (lambda c: c | {"positions_mm": "x"}, "must be a valid prediction"),
        (lambda c: [1], "must be of kind"),
    ],
)
def test_a_prediction_of_another_shape_is_refused(change, reason, prediction, tmp_path):
    content = json.loads((prediction / "prediction.json").read_text())
    (tmp_path / "prediction.json").write_text(json.dumps(change(content)))
    with pytest.raises(InputError, match=reason):
        open_study([tmp_path])


def test_a_prediction_of_another_scan_is_refused(prediction, scans):
    with pytest.raises(InputError, match="a scan must belong to a prediction"):
        open_study([prediction, scans / "patient-0002"])


def test_a_volume_file_under_another_path_is_assigned_by_its_slices(prediction, scan, tmp_path):
    hu = read_volume(discover(scan, labels=False, workers=1).scans[0]).hu
    ScanFiles.nifti(tmp_path / "renamed.nii.gz", hu)
    (viewed,) = open_study([prediction, tmp_path / "renamed.nii.gz"]).scans
    assert "assigned to the scan by slice positions" in viewed.notes[-1]
    ScanFiles.nifti(tmp_path / "shorter.nii.gz", hu[:4])
    with pytest.raises(InputError, match=r"the scan of scan-\w+ must have .*, 5 slices from .* mm, got 4 slices from"):
        open_study([prediction, tmp_path / "shorter.nii.gz"])


def test_two_scans_that_the_prediction_does_not_name_are_refused(prediction, scans, tmp_path):
    content = json.loads((prediction / "prediction.json").read_text()) | {"scan": "scan-0"}
    (tmp_path / "prediction.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="a scan must belong to a prediction"):
        open_study([tmp_path, scans])


@pytest.mark.parametrize(("paths", "reason"), [(["nowhere"], "must exist"), (["."], "must contain a CT scan")])
def test_paths_without_a_scan_are_refused(paths, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter.txt").write_text("a letter")
    from pathlib import Path

    with pytest.raises(InputError, match=reason):
        open_study([Path(path) for path in paths])


def test_a_workspace_is_viewed_alone(workspace, scan):
    with pytest.raises(InputError, match="a workspace must be given without other paths, got 2 paths"):
        open_study([workspace, scan])
