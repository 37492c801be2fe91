"""Folders of grey images: read as HU by a window, labelled by file, and refused in one line otherwise."""

import csv

import numpy as np
import pytest
from grey_images import HALF_LUNG, WINDOW, chest, grey, save
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
    assert report["notes"] == [
        "slices.csv has no column for reticular, emphysema: the presence is unknown",
        "slices.csv has no known label of honeycomb: the presence is unknown",
        "rows of the label file for quarantined scans were ignored (1)",
    ]
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
    with pytest.raises(InputError, match=r"at least 64 pixels per side .*: remove icons and parts of slices$"):
        hu_of(path)


def test_options_that_need_the_hu_of_a_scan_are_refused_before_a_workspace_is_created(tmp_path):
    (tmp_path / "scans").mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "scans" / "a.png")
    with pytest.raises(InputError, match=r"need the HU of a scan, got --pixel-size 0\.8: omit them"):
        prepare_scans(tmp_path / "scans", tmp_path / "study", grey=WINDOW, pixel_size=0.8, workers=1)
    assert not (tmp_path / "study").exists()  # its settings would bind the next run
