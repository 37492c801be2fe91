"""Folders of grey images: read as HU by a window, labelled by file, and refused in one line otherwise."""

import csv

import numpy as np
import pytest
from PIL import Image
from preparing import in_this_process

from ildfv.errors import InputError
from ildfv.patterns import PATTERNS, presence
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.density import SCALARS
from ildfv.scans.grey import Grey
from ildfv.scans.image_lungs import image_lungs
from ildfv.scans.images import grey_values, image_geometry, read_image

WINDOW = Grey(-1350.0, 150.0)
HALF_LUNG = -860.0


def chest(seed=0, side=128, cropped=False):
    """HU of a slice of air, a body and two lungs; with `cropped`, the part around the lungs, which touch its border."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    hu = np.where((x / 0.45) ** 2 + (y / 0.38) ** 2 < 1, 40.0, -1000.0)
    for centre in (-0.2, 0.2):
        hu[((x - centre) / 0.14) ** 2 + (y / 0.25) ** 2 < 1] = HALF_LUNG
    hu += np.random.default_rng(seed).normal(0, 25, hu.shape) * (hu > -990)
    return hu[side // 3 : 2 * side // 3, side // 8 : -side // 8] if cropped else hu


def grey(hu, window=WINDOW, dtype=np.uint8):
    """The grey levels of an image that was exported with this window."""
    most = np.iinfo(dtype).max
    return np.clip((hu - window.low) / (window.high - window.low) * most, 0, most).round().astype(dtype)


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def hu_of(path, window=WINDOW):
    return read_image(path, window, patient_id="p", series_id="s").hu[0]


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_eight_bits_give_hu_within_one_grey_level(tmp_path, suffix):
    hu = np.clip(chest(), WINDOW.low, WINDOW.high)
    path = save(tmp_path / f"a.{suffix}", grey(hu), **({"quality": 98} if suffix == "jpg" else {}))
    worst = np.abs(hu_of(path) - hu)
    assert worst.max() < 60 if suffix == "jpg" else worst.max() <= WINDOW.step(8) / 2 + 0.01
    assert worst.mean() < 6


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_of_hu_plus_1024_are_exact(tmp_path, suffix):
    hu = chest().round()
    path = save(tmp_path / f"a.{suffix}", (hu + 1024).clip(0).astype(np.uint16))
    found = hu_of(path, Grey(-1024, 64511))
    assert found.dtype == np.int16
    assert np.array_equal(found, np.maximum(hu, -1024))


def test_signed_sixteen_bits_of_hu_are_exact(tmp_path):
    hu = chest().round().astype(np.int16)
    image = Image.frombytes("I;16", hu.shape[::-1], hu.tobytes())
    image.save(tmp_path / "a.tif", tiffinfo={339: 2})  # tag SampleFormat with the value for signed integers
    assert np.array_equal(hu_of(tmp_path / "a.tif", Grey(-32768, 32767)), hu)


def test_equal_colour_channels_are_grey(tmp_path):
    values = grey(chest())
    plain = save(tmp_path / "a.png", values)
    colour = save(tmp_path / "b.png", np.repeat(values[:, :, None], 3, axis=2))
    Image.fromarray(values).convert("P").save(tmp_path / "c.png")
    assert np.array_equal(grey_values(plain), grey_values(colour))
    assert np.array_equal(grey_values(plain), grey_values(tmp_path / "c.png"))
    save(tmp_path / "d.jpg", np.repeat(values[:, :, None], 3, axis=2))
    assert grey_values(tmp_path / "d.jpg").shape == values.shape


def faulty(folder):
    """Files that are refused, named by the reason."""
    values = grey(chest())
    colour = np.stack([values, values, values // 2], axis=2)
    frames = [Image.fromarray(values), Image.fromarray(values[::-1].copy())]
    found = {
        "an alpha channel": save(folder / "alpha.png", np.dstack([values] * 4)),
        "colours whose channels differ": save(folder / "colour.png", colour),
        "channels differ by up to": save(folder / "colour.jpg", colour),
        "2 frames": folder / "pages.tif",
        "frames": folder / "moving.png",
        "mode F": save(folder / "float.tif", values.astype(np.float32)),
        "mode 1": save(folder / "bits.png", values > 100),
        "must be intact": folder / "half.png",
        "must be a readable PNG, JPEG or TIFF": folder / "text.jpg",
        "Exif orientation 6": folder / "turned.jpg",
    }
    frames[0].save(folder / "pages.tif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:])
    data = save(folder / "half.png", values).read_bytes()
    (folder / "half.png").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_text("no image")
    turned = Image.Exif()
    turned[274] = 6
    save(folder / "turned.jpg", values, exif=turned)
    return found


def test_a_file_that_is_not_one_grey_image_is_refused_in_one_line(tmp_path):
    for reason, path in faulty(tmp_path).items():
        with pytest.raises(InputError, match=reason) as caught:
            hu_of(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["150", "a,b", "150,-1350", "0,0", "nan,1", "1,2,3"])
def test_a_window_that_is_not_low_and_high_is_refused(text):
    with pytest.raises(InputError, match="grey must be two"):
        Grey.parse(text)


def test_a_window_that_gives_implausible_hu_is_refused_with_a_question(tmp_path):
    path = save(tmp_path / "a.png", grey(chest()))
    with pytest.raises(InputError, match="check that --grey 0,255 is the window of the image"):
        hu_of(path, Grey(0, 255))


def test_cropped_lung_is_found_and_air_is_not(tmp_path):
    whole, cropped = chest(), chest(cropped=True)
    area = (350 / 128) ** 2
    assert np.mean(image_lungs(whole, area) == (np.abs(whole - HALF_LUNG) < 120)) > 0.99
    found = image_lungs(cropped, area)
    assert np.mean(found == (np.abs(cropped - HALF_LUNG) < 120)) > 0.95
    assert image_lungs(np.full((64, 64), 40.0), 30.0).all()  # without lung, the mask is the whole image


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Twelve images of six people in one folder, a CSV that names them, prepared; one image is damaged."""
    folder = tmp_path_factory.mktemp("images")
    rows = []
    for number in range(12):
        name = f"slice{number}.{('png', 'jpg', 'tif')[number % 3]}"
        save(folder / "scans" / name, grey(chest(number)))
        rows.append([f"scans/{name}", f"person {number // 2}", number // 2 % 2, ""])
    (folder / "scans" / "slice3.png").write_bytes(b"damaged")
    (folder / "scans" / "notes.txt").write_text("not an image")
    with (folder / "slices.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "patient", "ground glass", "honeycomb"], *rows])
    with in_this_process():
        report = prepare_scans(
            folder / "scans", folder / "study", grey=WINDOW, labels=folder / "slices.csv", salt="0123456789abcdef"
        )
    return folder, report


def test_images_are_labelled_by_file_and_belong_to_the_listed_patients(study):
    folder, report = study
    assert (report["scans"], report["patients"], report["labelled_slices"]) == (11, 6, 11)
    assert [one["reason"][:35] for one in report["quarantined"]] == ["an image must be a readable PNG, JPEG"[:35]]
    assert report["notes"] == ["rows of the label file for quarantined scans were ignored (1)"]
    slices = Workspace.open(folder / "study").slices()
    found = presence(slices.counts)
    assert set(found[:, PATTERNS.index("ground glass")].tolist()) == {0, 1}
    assert (np.delete(found, PATTERNS.index("ground glass"), axis=1) == -1).all()
    assert len(set(slices.patients.tolist())) == 6


def test_the_loss_of_hu_is_in_the_report(study):
    _, report = study
    for scan in report["prepared"]:
        assert scan["notes"][0].startswith("the image has 8-bit grey levels of -1350 … 150 HU in steps of 5.88 HU")
        assert "pixel size is unknown" in scan["notes"][0]


def test_densities_and_lung_masks_are_those_of_the_hu(study):
    folder, _ = study
    slices = Workspace.open(folder / "study").slices()
    means = slices.densities()[:, SCALARS.index("mean-density")]
    assert np.abs(means - HALF_LUNG).max() < 15
    masks = np.unpackbits(slices.lung_masks(0), axis=1).reshape(-1, 224, 224)
    assert masks.mean() == pytest.approx(slices.lung[0] / 128**2, rel=0.03)


@pytest.mark.slow
def test_images_are_prepared_again_only_with_another_window(study):
    folder, report = study

    def again(window):
        return prepare_scans(folder / "scans", folder / "study", grey=window, labels=folder / "slices.csv", workers=1)

    assert again(WINDOW)["kept"] == report["scans"]
    assert again(Grey(-1400, 150))["kept"] == 0
    assert again(WINDOW)["kept"] == 0


def test_without_a_list_the_patient_is_the_folder_or_the_name(tmp_path, inline):
    for number, name in enumerate(("anna/1.png", "anna/2.png", "bert.png")):
        save(tmp_path / "scans" / name, grey(chest(number)))
    report = prepare_scans(tmp_path / "scans", tmp_path / "study", grey=WINDOW, workers=1)
    assert report["patients"] == 2
    assert any("add a column patient to --labels" in note for note in report["notes"])


def test_a_table_names_images_patients_and_lung_masks(tmp_path, inline):
    for number in range(3):
        save(tmp_path / f"{number}.png", grey(chest(number)))
        mask = np.zeros((128, 128), np.uint8)
        mask[40:80, 20:40] = 255
        save(tmp_path / "masks" / f"{number}.png", mask)
    rows = "\n".join(f"{n}.png,person {n // 2},masks/{n}.png" for n in range(3))
    (tmp_path / "scans.csv").write_text(f"scan,patient,lung\n{rows}\n")
    report = prepare_scans(tmp_path, tmp_path / "study", table=tmp_path / "scans.csv", grey=WINDOW, workers=1)
    assert (report["scans"], report["patients"]) == (3, 2)
    assert Workspace.open(tmp_path / "study").slices().lung.tolist() == [800, 800, 800]


@pytest.mark.parametrize("shape", [(8, 8), (32, 32), (63, 128), (10, 256), (64, 300)])
def test_icons_and_strips_are_refused(tmp_path, shape):
    path = save(tmp_path / "a.png", np.full(shape, 100, np.uint8))
    with pytest.raises(InputError, match="at least 64 pixels per side and an aspect ratio of at most 4, got"):
        image_geometry(path)


def test_options_that_need_the_hu_of_a_scan_are_refused_before_a_workspace_is_created(tmp_path):
    (tmp_path / "scans").mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "scans" / "a.png")
    with pytest.raises(InputError, match=r"need the HU of a scan, got --pixel-size 0\.8: omit them"):
        prepare_scans(tmp_path / "scans", tmp_path / "study", grey=WINDOW, pixel_size=0.8, workers=1)
    assert not (tmp_path / "study").exists()  # its settings would bind the next run


def prepared_with(folder, header, rows, **options):
    """The report of `prepare` for images in `folder`/scans and a table of labels."""
    with (folder / "slices.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    with in_this_process():
        return prepare_scans(
            folder / "scans", folder / "study", grey=WINDOW, labels=folder / "slices.csv", salt="ab" * 8, **options
        )


@pytest.mark.parametrize(("column", "notes"), [("emphysema", 0), ("emphysema pixels", 1)])
def test_the_threshold_is_mentioned_only_if_labels_are_pixel_counts(tmp_path, column, notes):
    rows = []
    for number in range(3):
        save(tmp_path / f"scans/{number}.png", grey(chest(number)))
        rows.append([f"scans/{number}.png", number % 2])
    report = prepared_with(tmp_path, ["file", column], rows)
    for scan in report["prepared"]:
        assert sum("threshold T" in note for note in scan["notes"]) == notes


def test_the_remedy_for_one_image_of_two_patients_names_the_option_with_the_patients(tmp_path):
    rows = []
    for number in range(4):
        save(tmp_path / f"scans/{number}.png", grey(chest(min(number, 2))))  # 3 is a copy of 2
        rows.append([f"scans/{number}.png", ["A", "A", "A", "B"][number], 1])
    report = prepared_with(tmp_path, ["file", "patient", "emphysema"], rows)
    reasons = {one["source"][-5:]: one["reason"] for one in report["quarantined"]}
    assert reasons["3.png"].endswith("2.png, which has another patient")
    rows[2][1], rows[3][1] = "B", "A"  # the copy that is kept is of B, so the other images of A are removed
    report = prepared_with(tmp_path, ["file", "patient", "emphysema"], rows)
    reasons = {one["source"][-5:]: one["reason"] for one in report["quarantined"]}
    assert len(reasons) == 3
    assert reasons["0.png"].endswith(
        "which has another patient: give both the same patient in the column patient of --labels"
    )


def two_images(folder, name):
    """Two images below `folder`/scans, of which `name` names the first, and the labelled patterns of the first."""
    save(folder / "scans" / "a" / "slice1.tiff", grey(chest(1)))
    save(folder / "scans" / "b" / "slice2.tiff", grey(chest(2)))
    report = prepared_with(folder, ["FILE", "Emphysema"], [[name, "Yes"], ["scans/b/slice2.tiff", "FALSE"]])
    assert report["labelled_slices"] == 2
    slices = Workspace.open(folder / "study").slices()
    return presence(slices.counts)[:, PATTERNS.index("emphysema")].tolist()


@pytest.mark.parametrize(
    "name", ["scans/a/slice1.tiff", "a/slice1.tiff", "slice1.tiff", "slice1", "a\\slice1", "./A/SLICE1.TIFF"]
)
def test_an_image_is_named_by_its_path_or_by_its_name(tmp_path, name):
    assert sorted(two_images(tmp_path, name)) == [0, 1]


def test_a_name_of_several_images_is_refused(tmp_path):
    save(tmp_path / "scans" / "c" / "slice1.png", grey(chest(3)))
    with pytest.raises(
        InputError, match=r"line 2: file must name one path, got 'slice1', which may be a/slice1.tiff, c/"
    ):
        two_images(tmp_path, "slice1")
    assert not (tmp_path / "study").exists()


def test_a_file_that_does_not_exist_is_refused_although_no_image_has_a_patient(tmp_path):
    """Images without a row with a patient are quarantined, so here every image is."""
    save(tmp_path / "scans" / "slice1.tiff", grey(chest(1)))
    with pytest.raises(InputError, match=r"line 2: file must exist, got 'slice01'; paths are relative to .* or to the"):
        prepared_with(tmp_path, ["file", "patient", "emphysema"], [["slice01", "A", 1]])
