"""The user's lung masks of new scans: found by name as in `prepare`, used for lung, densities and regions."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scan_files import ScanFiles
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.inference.inbox import predict_all
from ildfv.inference.predictor import Predictor

nibabel = pytest.importorskip("nibabel")


@pytest.fixture(scope="module")
def loaded(folder):
    return Predictor.load(folder)


def write_mask(scan, path, value=1):
    """Writes a mask of one lung of a NIfTI scan, on its grid, and returns the share of lung that it marks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.load(scan)
    hu = np.asarray(image.dataobj)
    lung = (hu < -500) & (hu > -950)
    mask = lung.copy()
    mask[mask.shape[0] // 2 :] = False
    nibabel.save(nibabel.Nifti1Image((mask * value).astype(np.uint8), image.affine), path)
    return mask.sum() / lung.sum()


@pytest.fixture
def scan(tmp_path):
    """A NIfTI chest in a folder of scans, the path of its mask, and the share of lung that the mask marks."""
    path = tmp_path / "in" / "canary" / "canary-ct.nii.gz"
    path.parent.mkdir(parents=True)
    ScanFiles.nifti(path, ScanFiles.chest())
    mask = tmp_path / "masks" / "canary" / "canary-ct.nii"
    share = write_mask(path, mask)
    return SimpleNamespace(inbox=tmp_path / "in", path=path, masks=tmp_path / "masks", mask=mask, share=share)


def test_the_lung_of_a_new_scan_is_that_of_its_mask(loaded, scan):
    rule = loaded.predict(scan.path)
    with pytest.raises(InputError, match=r"lung mask .*nope.nii.gz must be a file, got no such file"):
        loaded.predict(scan.path, lung_mask=scan.path / "nope.nii.gz")
    given = loaded.predict(scan.path, lung_mask=scan.mask)
    assert 0.4 < scan.share < 0.6
    assert given.lung.sum() == pytest.approx(scan.share * rule.lung.sum(), rel=0.05)
    assert given.lung_masks.mean() == pytest.approx(given.lung.sum() / 100 / len(given.lung) / area(given), rel=0.05)
    assert any("the lung was taken from the given mask" in note for note in given.notes)
    ((answer,), failed) = predict_all([scan.inbox], loaded, lung_masks=scan.masks)
    assert failed == []
    assert answer["lung_cm2"] == given.to_dict()["lung_cm2"]


def area(prediction):
    """dm² of the slice, a square."""
    side = max(prediction.shape) * prediction.geometry.spacing[1]
    return side**2 / 1e4


def test_a_mask_of_a_single_file_is_beside_it(loaded, scan):
    write_mask(scan.path, scan.path.parent / "masks" / "canary-ct.nii.gz")
    ((answer,), failed) = predict_all([scan.path], loaded, lung_masks=scan.path.parent / "masks")
    assert failed == []
    assert "lung_mask_sha256" in answer


def test_a_prediction_with_another_mask_is_not_taken_for_finished(loaded, scan, tmp_path):
    given = {"out": tmp_path / "out", "lung_masks": scan.masks}
    ((first,), _) = predict_all([scan.inbox], loaded, **given)
    ((again,), _) = predict_all([scan.inbox], loaded, **given)
    assert again == first
    _, (failure,) = predict_all([scan.inbox], loaded, out=tmp_path / "out")
    assert "prediction.json was written with a lung mask: give another --out" in failure["reason"]
    write_mask(scan.path, scan.mask, value=2)
    _, (failure,) = predict_all([scan.inbox], loaded, **given)
    assert "prediction.json was written with another lung mask" in failure["reason"]
    ((_,), failed) = predict_all([scan.inbox], loaded, fresh=True, **given)
    assert failed == []
    predict_all([scan.inbox], loaded, out=tmp_path / "without")
    _, (failure,) = predict_all([scan.inbox], loaded, out=tmp_path / "without", lung_masks=scan.masks)
    assert "prediction.json was written without a lung mask" in failure["reason"]


@pytest.mark.parametrize("fault", ["missing", "empty", "several", "other grid"])
def test_a_scan_without_a_usable_mask_is_a_failure_without_names(loaded, scan, fault):
    if fault == "missing":
        scan.mask.rename(scan.mask.with_name("canary-2.nii"))
    elif fault == "empty":
        write_mask(scan.path, scan.mask, value=0)
    elif fault == "several":
        scan.mask.with_suffix(".nii.gz").write_bytes(b"")
    else:
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), scan.mask)
    reason = {
        "missing": "a scan must have a lung mask, got none named like the scan in",
        "empty": "lung mask … must mark lung, got only zeros",
        "several": "a scan must have one lung mask, got 2",
        "other grid": "lung mask … must have shape",
    }[fault]
    answers, (failure,) = predict_all([scan.inbox], loaded, lung_masks=scan.masks)
    assert answers == []
    assert reason in failure["reason"]
    assert "must contain a CT scan" not in failure["reason"]
    assert failure["scan"] == loaded.predict(scan.path).scan
    assert "canary" not in str(failure)
    _, (named,) = predict_all([scan.inbox], loaded, lung_masks=scan.masks, keep_identity=True)
    assert "canary" in named["reason"]


def test_the_mask_of_a_series_is_named_after_its_uid(loaded, tmp_path):
    ScanFiles.series(tmp_path / "in", ScanFiles.chest(), series="1.2.3")
    write = ScanFiles.chest() < -500
    write[:, :, :32] = False
    ScanFiles.nifti(tmp_path / "masks" / "1.2.3.nii.gz", write.astype(np.uint8))
    answers, failed = predict_all([tmp_path / "in"], loaded, lung_masks=tmp_path / "masks")
    assert failed == []
    assert sum(answers[0]["lung_cm2"]) == pytest.approx(write.sum() * 16 / 100)
    (tmp_path / "masks" / "1.2.3.nii.gz").rename(tmp_path / "masks" / "1.2.4.nii.gz")
    _, (failure,) = predict_all([tmp_path / "in"], loaded, lung_masks=tmp_path / "masks")
    assert "1.2.3" not in str(failure)


def test_only_the_scan_without_a_mask_fails(loaded, scan):
    ScanFiles.nifti(scan.inbox / "second" / "ct.nii.gz", ScanFiles.chest(seed=1))
    ((_,), (failure,)) = predict_all([scan.inbox], loaded, lung_masks=scan.masks)
    assert failure["reason"].startswith("a scan must have a lung mask, got none named like the scan in")
    assert failure["scan"] == loaded.predict(scan.inbox / "second").scan


def test_a_series_with_a_mask_is_chosen_before_a_longer_one_without(loaded, tmp_path):
    for m in (3, 4):
        ScanFiles.series(tmp_path / "in" / str(m), ScanFiles.chest(m), series=f"1.2.{m}")
    ScanFiles.nifti(tmp_path / "masks" / "1.2.3.nii.gz", (ScanFiles.chest(3) < -500).astype(np.uint8))
    (answer,), failed = predict_all([tmp_path / "in"], loaded, lung_masks=tmp_path / "masks")
    assert (answer["slices"], failed) == (3, [])
    assert "Series 1, with the most slices of the series with a lung mask, is used" in answer["notes"][0]
    (tmp_path / "masks" / "1.2.3.nii.gz").unlink()
    answers, (failure,) = predict_all([tmp_path / "in"], loaded, lung_masks=tmp_path / "masks")
    assert answers == []
    assert failure["reason"].startswith("a scan must have a lung mask, got none")


def test_masks_are_refused_where_they_cannot_be_used(folder, loaded, scan, monkeypatch):
    with pytest.raises(InputError, match="lung masks must be in a folder"):
        predict_all([scan.inbox], loaded, lung_masks=scan.mask)
    given = ["predict", str(scan.path), str(scan.path), "-p", str(folder), "--lung-masks", str(scan.masks)]
    with pytest.raises(InputError, match="--lung-masks cannot be used with --follow-up"):
        CliRunner().invoke(app, [*given, "--follow-up"], catch_exceptions=False)
    preparation = loaded.info.preparation.model_copy(update={"lungs": "lungmask"})
    monkeypatch.setattr(loaded, "info", loaded.info.model_copy(update={"preparation": preparation}))
    with pytest.raises(InputError, match=r"must not be given for a predictor .*--lungs lungmask"):
        predict_all([scan.inbox], loaded, lung_masks=scan.masks)


def test_the_command_reads_masks(folder, scan):
    given = ["predict", str(scan.inbox), "-p", str(folder), "--lung-masks", str(scan.masks), "--json"]
    found = CliRunner().invoke(app, given, catch_exceptions=False)
    (answer,) = json.loads(found.stdout)["answers"]
    assert any("the lung was taken from the given mask" in note for note in answer["notes"])
