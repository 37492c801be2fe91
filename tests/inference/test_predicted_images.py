"""A predictor trained on images gives images the same scores as `regress`, and refuses all other input."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scan_files import ScanFiles
from typer.testing import CliRunner

from ildfv.cli.app import app
from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.datasets.identity import hashed
from ildfv.errors import InputError
from ildfv.inference.predictor import Predictor
from ildfv.patterns import PATTERNS
from ildfv.pipeline.encodings import newest
from ildfv.pipeline.workspace import Workspace

GREY = (-1350, 150)
HEAD = "fv-filters-lung-ridge"


def run(*arguments, code=0):
    found = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found.output


def answers_of(source, predictor, *options, code=0):
    return json.loads(run("predict", source, "--predictor", predictor, *options, "--json", code=code))


def write_image(path, hu, **options):
    """Writes a slice with the grey levels of the window `GREY`."""
    low, high = GREY
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.round((hu.astype(float) - low) / (high - low) * 255)
    Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(path, **options)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Phantom slices as PNG and JPEG in one folder per patient, and a predictor trained on the PNG files.

    The pattern honeycomb has no labels.
    """
    root = tmp_path_factory.mktemp("images")
    run("phantom", root / "phantoms", "--patients", 7, "--slices", 3, "--seed", 4)
    run("prepare", root / "phantoms", "-w", root / "ct", "--workers", 1)
    ct = Workspace.open(root / "ct")
    slices, rows = ct.slices(), [["file", *(name for name in PATTERNS if name != "honeycomb")]]
    for scan in discover(root / "phantoms", labels=False, workers=1).scans:
        part = slices.names.index(hashed(scan.series, ct.settings.salt))
        counts = slices.counts[slices.starts[part] : slices.starts[part + 1]]
        for z, (hu, row) in enumerate(zip(read_volume(scan).hu[:, ::2, ::2], counts, strict=True)):
            name = f"{scan.patient}/{z}"
            write_image(root / "png" / f"{name}.png", hu)
            write_image(root / "jpeg" / f"{name}.jpg", hu, quality=95)
            shown = [int(row[k] >= 2000) for k, pattern in enumerate(PATTERNS) if pattern != "honeycomb"]
            rows.append([f"png/{name}.png", *shown])
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    window = ",".join(map(str, GREY))
    where = ["-w", root / "study"]
    run("prepare", root / "png", *where, "--grey", window, "--labels", root / "labels.csv", "--workers", 1)
    run("folds", *where, "--folds", 3)
    run("encode", *where, "--layer", "filters", "--region", "lung", "-k", 4, "--dimensions", 16, "--passes", 1)
    run("regress", *where, "--layer", "filters", "--region", "lung", "--head", "ridge", "--target", "step")
    run("export", *where, "--layer", "filters", "--region", "lung", "--out", root / "predictor")
    return SimpleNamespace(root=root, workspace=Workspace.open(root / "study"), predictor=root / "predictor")


def held_out(study):
    """{file below the folder of images, without suffix: scores by pattern} from the results of `regress`."""
    salt = study.workspace.settings.salt
    names = {hashed(path.relative_to(study.root / "png").as_posix(), salt): path for path in study.root.rglob("*.png")}
    table = csv.DictReader((study.workspace.results_dir / f"{HEAD}-fold-0.csv").read_text().splitlines())
    return {names[row["series"]]: [float(row[p] or "nan") for p in PATTERNS] for row in table}


@pytest.mark.slow
def test_scores_of_held_out_images_are_those_of_regress(study):
    scores = held_out(study)
    assert len(scores) >= 6
    predictor = Predictor.load(study.predictor)
    for path, expected in scores.items():
        found = predictor.predict(path).heads[HEAD].scores
        np.testing.assert_allclose(found[0], expected, atol=1e-6, equal_nan=True)
        jpeg = study.root / "jpeg" / path.relative_to(study.root / "png").with_suffix(".jpg")
        np.testing.assert_allclose(predictor.predict(jpeg).heads[HEAD].scores[0], expected, atol=0.2, equal_nan=True)


@pytest.mark.slow
def test_the_masks_of_images_are_used_and_named_like_the_images(study, tmp_path):
    image = min((study.root / "png").rglob("*.png"))
    (tmp_path / "in" / "canary").mkdir(parents=True)
    shutil.copy(image, tmp_path / "in" / "canary" / "1.png")
    (tmp_path / "masks" / "canary").mkdir(parents=True)
    side = Image.open(image).size[0]
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "canary" / "1.png")
    (answer,) = answers_of(tmp_path / "in", study.predictor, "--lung-masks", tmp_path / "masks")["answers"]
    assert any("the lung was taken from the given mask" in note for note in answer["notes"])
    found = Predictor.load(study.predictor).predict(image, lung_mask=tmp_path / "masks" / "canary" / "1.png")
    assert found.lung_masks.mean() == pytest.approx(1 / 16, rel=0.05)
    assert answer["heads"][HEAD]["per_slice"]["scores"] == found.to_dict()["heads"][HEAD]["per_slice"]["scores"]
    without = Predictor.load(study.predictor).predict(image)
    assert np.nanmax(abs(without.heads[HEAD].scores - found.heads[HEAD].scores)) > 1e-3
    Image.fromarray(mask[1:]).save(tmp_path / "masks" / "canary" / "1.png")
    (failure,) = answers_of(tmp_path / "in", study.predictor, "--lung-masks", tmp_path / "masks", code=1)["failed"]
    assert f"must have ({side}, {side}) pixels, got ({side - 1}, {side})" in failure["reason"]
    assert "canary" not in failure["reason"]


@pytest.mark.slow
def test_similar_takes_an_image_of_a_study_of_images(study):
    slices = study.workspace.slices()
    projections = newest(study.workspace, 0, "filters-lung").projections()
    image = min((study.root / "png").rglob("*.png"))
    series = hashed(image.relative_to(study.root / "png").as_posix(), study.workspace.settings.salt)
    (row,) = np.flatnonzero(slices.series == series)
    found = json.loads(run("similar", image, "-w", study.root / "study", "--json"))
    assert (found["query"]["slices"], found["searched"]["excluded_slices_of_the_same_patient"]) == (1, 3)
    assert any("8-bit grey levels" in note for note in found["notes"])
    for result in found["results"]:
        assert result["patient"] != slices.patients[row]
        distance = np.linalg.norm(projections[row] - projections[result["index"]])
        assert result["distance"] == pytest.approx(distance, rel=1e-3, abs=1e-4)
    for wrong, got in ((image.parent, 3), (study.root / "labels.csv", "none")):
        with pytest.raises(InputError, match=rf"must be one PNG, JPEG or TIFF image, because .*-1350,150\), got {got}"):
            run("similar", wrong, "-w", study.root / "study")


@pytest.mark.slow
def test_the_answer_states_the_loss_of_hu_and_no_areas(study, tmp_path):
    patient = min((study.root / "jpeg").iterdir())
    document = answers_of(patient, study.predictor, "--out", tmp_path / "answers")
    assert len(document["answers"]) == 3  # each image is a scan of one slice
    for answer in document["answers"]:
        assert any("8-bit grey levels of -1350 … 150 HU in steps of 5.88 HU" in note for note in answer["notes"])
        assert any("areas in cm² are therefore not given" in note for note in answer["notes"])
        assert not any("given lung masks" in note for note in answer["notes"])
        assert (answer["slices"], answer["lung_cm2"], answer["spacing_mm"]) == (1, None, None)
        assert not any("mm" in line or "cm²" in line for line in answer["reliability"])
        (head,) = answer["heads"].values()
        for pattern in PATTERNS:
            assert head["scan"][pattern]["area_cm2_present_slices"] in (None, 0)
            assert (head["scan"][pattern]["present"] is None) == (pattern == "honeycomb")
        assert all(value is None for row in head["per_slice"]["area"] for value in row)
        folder = tmp_path / "answers" / answer["scan"]
        (row,) = csv.DictReader((folder / "slices.csv").read_text().splitlines())
        assert row["lung_cm2"] == row["emphysema area_cm2"] == ""
        page = (folder / "prediction.html").read_text()
        assert "One image of 256 × 256 pixels." in page
        assert "cm² of lung" not in page
        assert not list(folder.glob("*.nii.gz"))
        maps = sorted(path.name for path in folder.glob("*.tiff"))
        assert maps == [f"{p.replace(' ', '-')}-contributions.tiff" for p in sorted(PATTERNS) if p != "honeycomb"]
        assert len(list(folder.glob("*-slice-1.png"))) == 3
    shown = run("predict", patient, "--predictor", study.predictor)
    assert shown.count("1 slice,") == 3


@pytest.mark.slow
def test_the_map_of_an_image_has_its_pixels_and_the_sum_of_the_contributions(study, tmp_path):
    path = min((study.root / "png").rglob("*.png"))
    prediction = Predictor.load(study.predictor).predict(path)
    (answer,) = answers_of(path, study.predictor, "--out", tmp_path)["answers"]
    with Image.open(tmp_path / answer["scan"] / "emphysema-contributions.tiff") as image:
        plane = np.asarray(image)
    assert plane.shape == (256, 256)
    total = prediction.contributions[0, PATTERNS.index("emphysema")].sum()
    assert plane.sum() == pytest.approx(total, abs=1e-3)


@pytest.mark.slow
def test_scans_and_unreadable_images_are_refused_in_one_line(study, tmp_path):
    ScanFiles.series(tmp_path / "scan", ScanFiles.chest())
    (failed,) = answers_of(tmp_path / "scan", study.predictor, code=1)["failed"]
    assert "must contain PNG, JPEG or TIFF images, because the predictor was trained on images" in failed["reason"]
    assert "(--grey -1350,150)" in failed["reason"]
    folder = tmp_path / "images"
    shutil.copytree(min((study.root / "png").iterdir()), folder / "one")
    Image.new("RGBA", (80, 80)).save(folder / "one" / "alpha.png")
    (folder / "one" / "text.png").write_text("no image")
    document = answers_of(folder, study.predictor, code=1)
    assert len(document["answers"]) == 3
    assert len(document["failed"]) == 2
    both = ["predict", "--follow-up", "--predictor", study.predictor]
    with pytest.raises(InputError, match="--follow-up needs a predictor trained on scans, got one trained on images"):
        run(*both, *sorted((folder / "one").glob("[01].png")))


@pytest.mark.slow
def test_a_predictor_trained_on_scans_refuses_images(study, folder):
    image = min((study.root / "png").rglob("*.png"))
    for source in (image, image.parent):
        (failed,) = answers_of(source, folder, code=1)["failed"]
        assert "must contain a CT scan in HU, because the predictor was trained on scans, got PNG" in failed["reason"]
        assert "train on images with `ildfv prepare --grey`" in failed["reason"]
        assert "\n" not in failed["reason"]
    with pytest.raises(InputError, match="must contain a CT scan in HU"):
        Predictor.load(folder).predict(image)


@pytest.mark.slow
def test_the_model_card_names_the_window(study):
    card = (study.predictor / "MODEL_CARD.md").read_text()
    assert "Slices are images with grey levels of -1350 … 150 HU (`--grey -1350,150`)" in card
    assert "Pixel side" not in card
    document = json.loads((study.predictor / "predictor.json").read_text())
    assert document["preparation"]["images"] == {"low": -1350.0, "high": 150.0, "field": 350.0}
    assert "given_lung_masks" not in document["training"]


@pytest.mark.slow
def test_slices_of_two_windows_are_not_exported_together(study, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(study.root / "study", root)
    (tmp_path / "more").mkdir()
    shutil.copy(min((study.root / "png").rglob("*.png")), tmp_path / "more" / "another.png")
    run("prepare", tmp_path / "more", "-w", root, "--grey", "-1340,160", "--workers", 1)
    rule = "all slices must be of scans in HU, or of images with the same --grey, got images with --grey"
    with pytest.raises(InputError, match=rule):
        run("export", "-w", root, "--layer", "filters", "--region", "lung", "--out", tmp_path / "predictor")
