"""Options of `prepare` for scanner effects: stored with the slices and the predictor, applied to new scans, checked."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles

from ildfv.cli.app import app
from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.datasets.slice_store import Slices
from ildfv.dicom_output.regions import covering, regions
from ildfv.errors import InputError
from ildfv.inference.outputs import _shares, squares_of, to_scan_grid
from ildfv.inference.predictor import Predictor
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.similar import similar_slices
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.preparation import Preparation, applied
from ildfv.scans.windows import windowed
from ildfv.viewer.computed_maps import ComputedMaps

pytestmark = pytest.mark.slow

GIVEN = {"normalise": "air", "pixel_size": 0.75, "noise_level": 12.0}
OPTIONS = Preparation(**GIVEN)
TINY = EncodeSettings(layer="filters", components=2, dimensions=4, passes=1, batch_size=4)


class Large(ScanFiles):
    """The small chest with 160×160 pixels of 2 mm, so that windows of soft tissue have several pixels."""

    spacing, origin = (5.0, 2.0, 2.0), (-160.0, -150.0, -300.0)

    @staticmethod
    def chest(m: int = 3, seed: int = 0, *, side: int = 160) -> np.ndarray:
        y, x = np.mgrid[:side, :side] - (side - 1) / 2
        hu = np.full((m, side, side), -1000.0)
        hu[:, (x / 66) ** 2 + (y / 48) ** 2 < 1] = 40
        for centre in (-30, 30):
            hu[:, ((x - centre) / 20) ** 2 + (y / 30) ** 2 < 1] = -850
        noise = np.random.default_rng(seed).normal(0, 30, hu.shape)
        return np.maximum(np.round(hu + noise + 7), -1024).astype(np.int16)

    @staticmethod
    def lungs(hu: np.ndarray) -> np.ndarray:
        y, x = np.mgrid[: hu.shape[1], : hu.shape[2]] - (hu.shape[1] - 1) / 2
        inside = [((x - centre) / 20) ** 2 + (y / 30) ** 2 < 1 for centre in (-30, 30)]
        return np.broadcast_to(inside[0] | inside[1], hu.shape)


def written(folder: Path, patients: int = 6) -> Path:
    """Scans with label maps: every second patient has ground glass in the anterior half of both lungs."""
    for number in range(patients):
        hu = Large.chest(seed=number)
        codes = Large.lungs(hu).astype(np.uint8)
        if number % 2:
            codes[:, :80] *= 2
        Large.nifti(folder / f"p{number}" / "ct.nii.gz", hu)
        Large.nifti(folder / f"p{number}" / "ct_label.nii.gz", codes)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A workspace prepared with all options, and a predictor of filters on the whole slice."""
    root = tmp_path_factory.mktemp("options")
    scans, workspace = written(root / "scans"), root / "study"
    arguments = ["prepare", str(scans), "-w", str(workspace), "--codes", "phantom", "--workers", "1", "--json"]
    options = ["--normalise", "air", "--pixel-size", "0.75", "--noise-level", "12", "--threshold", "500"]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 0, result.output
    write_folds(Workspace.open(workspace))
    encode_slices(workspace, TINY)
    regress_encoding(workspace, layer="filters")
    export_predictor(workspace, root / "predictor", layer="filters")
    return workspace, root / "predictor", json.loads(result.stdout), scans


def test_the_options_are_recorded_in_the_workspace_the_parts_and_the_predictor(study):
    workspace, folder, report, _ = study
    assert Workspace.open(workspace).settings.preparation == OPTIONS
    assert Slices(workspace / "slices").preparation == OPTIONS
    predictor = Predictor.load(folder)
    assert predictor.info.preparation.options == OPTIONS
    assert "`--normalise air --pixel-size 0.75 --noise-level 12.0`" in (folder / "MODEL_CARD.md").read_text()
    for scan in report["prepared"]:
        (note,) = (one for one in scan["notes"] if one.startswith("HU normalised"))
        assert "pixels of 2 mm resampled to 0.75 mm" in note
        assert "reduced to 12 HU" in note


def test_counts_are_pixels_of_the_common_grid(study):
    slices = Workspace.open(study[0]).slices()
    assert set(slices.pixel_area) == {0.75**2}
    lung = slices.lung * 0.75**2
    true = 2 * np.pi * 20 * 30 * 4  # mm²
    assert np.abs(lung / true - 1).max() < 0.06
    shown = slices.counts[:, 0] > 0
    assert shown.sum() == 9
    assert np.abs(slices.counts[shown, 0] * 0.75**2 / (true / 2) - 1).max() < 0.02


def test_a_new_scan_is_prepared_like_the_training_scans(study, tmp_path):
    path = Large.nifti(tmp_path / "ct.nii.gz", Large.chest(seed=50))
    predictor = Predictor.load(study[1])
    found = predictor.predict(path)
    (scan,) = discover(path, labels=False, workers=1).scans
    volume, _, notes = applied(read_volume(scan), OPTIONS)
    images = np.stack([windowed(one) for one in volume.hu])
    expected = predictor.scores(images, 0.75**2)["fv-filters"]
    np.testing.assert_allclose(found.head.scores, expected, atol=1e-9)
    assert found.notes[-3:] == notes
    assert "were normalised with the measured attenuation of the air" in found.methods
    raw = predictor.scores(np.stack([windowed(one) for one in read_volume(scan).hu]), 4.0)["fv-filters"]
    assert np.abs(raw - expected).max() > 1e-3


def test_maps_are_placed_on_the_grid_of_the_scan(study, tmp_path):
    path = Large.nifti(tmp_path / "ct.nii.gz", Large.chest(seed=50))
    found = Predictor.load(study[1]).predict(path)
    assert found.shape == (160, 160)
    plane = np.zeros((1, 224, 224))
    plane[0, 80:90, 120:140] = 1.0  # 10 by 20 prepared pixels of 0.75 · 512 / 224 mm
    placed = to_scan_grid(plane, found.shape, found.field)[0]
    assert placed.sum() == pytest.approx(200)
    rows, columns = (np.average(np.arange(160), weights=placed.sum(axis=a)) for a in (1, 0))
    mm = 0.75 * 512 / 224
    assert (rows - 79.5) * 2 == pytest.approx((84.5 - 111.5) * mm, abs=0.05)
    assert (columns - 79.5) * 2 == pytest.approx((129.5 - 111.5) * mm, abs=0.05)
    sides = squares_of(found.shape, found.field)
    expected = [_shares(160, *side).argmax(axis=1) for side in sides]
    for n, side, nearest in zip(found.shape, sides, expected, strict=True):
        inside = (covering(n, *side) >= 0) & (covering(n, *side) < 224)
        assert inside.all()
        assert np.abs(covering(n, *side) - nearest).max() <= 1
    assert regions(found).shape == (4, 3, 160, 160)


def test_a_scan_in_which_a_value_cannot_be_measured_is_refused(study, tmp_path):
    masked = np.where(Large.chest(seed=3) < -940, np.int16(-1024), Large.chest(seed=3))
    Large.nifti(tmp_path / "scans" / "p9" / "ct.nii.gz", masked)
    rule = "the air around the body must be measurable to normalise HU"
    with pytest.raises(InputError, match=rule):
        Predictor.load(study[1]).predict(tmp_path / "scans" / "p9" / "ct.nii.gz")
    report = prepare_scans(tmp_path / "scans", tmp_path / "other", normalise="air", workers=1)
    assert report["scans"] == 0
    assert rule in report["quarantined"][0]["reason"]


@pytest.mark.slow
def test_a_workspace_has_one_preparation(study, tmp_path):
    workspace, folder, _, scans = study
    with pytest.raises(InputError, match=r"noise_level must be 12.0 as in .*, got 20.0: use another workspace"):
        prepare_scans(scans, workspace, noise_level=20.0, workers=1)
    report = prepare_scans(scans, workspace, codes="phantom", workers=1)  # the workspace's options apply
    assert report["kept"] == report["scans"] == 6
    plain = tmp_path / "plain"
    prepare_scans(scans, plain, codes="phantom", workers=1)
    assert Workspace.open(plain).slices().preparation == Preparation()
    with pytest.raises(InputError, match=r"prepared like its training slices, with --normalise air .*, got none of"):
        ComputedMaps(folder, Workspace.open(plain).slices())
    text = (plain / "workspace.toml").read_text()
    (plain / "workspace.toml").write_text(text + 'normalise = "air"\n')
    with pytest.raises(
        InputError, match=r"must be prepared as .*workspace.toml states, with --normalise air, got none"
    ):
        Workspace.open(plain).slices()


def test_similar_slices_prepare_the_query(study, tmp_path):
    workspace, _, _, scans = study
    found = similar_slices(workspace, f"{scans / 'p0' / 'ct.nii.gz'}:2", layer="filters", count=3)
    assert any(note.startswith("HU normalised") for note in found.document["notes"])
    # The query equals a stored slice only if it was prepared in the same way.
    slices = Workspace.open(workspace).slices()
    assert (slices.images(np.arange(len(slices)))[:, 1] == found.query).all(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize(("option", "value"), [("--normalise", "blood"), ("--pixel-size", "9"), ("--noise-level", "0")])
def test_invalid_options_are_one_line_before_anything_is_written(tmp_path, option, value):
    written(tmp_path / "scans", 1)
    arguments = ["prepare", str(tmp_path / "scans"), "-w", str(tmp_path / "study"), option, value]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert "must be" in str(result.exception)
    assert not (tmp_path / "study").exists()


def test_images_without_a_scanner_take_no_options(tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "images" / "a.png")
    arguments = ["prepare", str(tmp_path / "images"), "-w", str(tmp_path / "w"), "--grey", "-1350,150"]
    result = CliRunner().invoke(app, [*arguments, "--normalise", "air"])
    assert result.exit_code != 0
    assert "images (--grey) must be prepared without options" in str(result.exception)
