"""Images of all kinds: their values, and a one-line error for each image that cannot be used."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.texture.features import Range, common_range
from ildfv.texture.images import Picture, as_picture, as_pictures, read_image

Image = pytest.importorskip("PIL.Image")

GREY = np.arange(64 * 48, dtype=np.uint32).reshape(48, 64)


def saved(path, values, mode=None, **options):
    Image.fromarray(values, mode).save(path, **options) if mode else Image.fromarray(values).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a.png", (GREY % 256).astype(np.uint8)),
        ("a.tiff", (GREY * 20).astype(np.uint16)),
        ("a.png", (GREY * 20).astype(np.uint16)),
        ("a.tif", (GREY - 900.5).astype(np.float32)),
        ("a.bmp", np.stack([GREY % 256] * 3, axis=2).astype(np.uint8)),
    ],
)
def test_values_are_those_of_the_file(tmp_path, name, values):
    found = read_image(saved(tmp_path / name, values))
    np.testing.assert_array_equal(found.values, values)
    assert found.eight_bit == (values.dtype == np.uint8)
    assert found.values.dtype == np.float32


@pytest.mark.parametrize("values", [GREY - 1000.0, GREY.astype(np.int16)[..., None], np.zeros((9, 8, 3), np.uint8)])
def test_npy_keeps_units(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy").values, values.squeeze())


def test_exif_rotation_is_applied(tmp_path):
    values = (GREY % 200).astype(np.uint8)
    image = Image.fromarray(values)
    exif = image.getexif()
    exif[0x0112] = 6  # rotated by 90° clockwise to be upright
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").values, np.rot90(values, -1))


def test_an_opaque_alpha_channel_is_discarded_and_cmyk_becomes_rgb(tmp_path):
    rgba = np.full((8, 9, 4), 255, np.uint8)
    rgba[..., 0] = 10
    assert read_image(saved(tmp_path / "a.png", rgba)).values.shape == (8, 9, 3)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "b.jpg", quality=100)
    np.testing.assert_allclose(read_image(tmp_path / "b.jpg").values[0, 0], [254, 0, 0], atol=2)


def test_equal_pixels_have_equal_digests_in_other_formats(tmp_path):
    values = (GREY % 256).astype(np.uint8)
    digests = {read_image(saved(tmp_path / name, values)).digest() for name in ("a.png", "a.bmp", "a.tif")}
    assert len(digests) == 1
    assert read_image(saved(tmp_path / "b.png", values.T.copy())).digest() not in digests


def transparent(path):
    saved(path, np.zeros((8, 8, 4), np.uint8))


def animated(path):
    first, second = (Image.fromarray(np.full((8, 8), v, np.uint8)) for v in (0, 255))
    first.save(path, save_all=True, append_images=[second])


def cut(path):
    saved(path, np.random.default_rng(0).integers(0, 255, (60, 60)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-1500])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.png", transparent, "a.png must be opaque, got transparent pixels: flatten it"),
        ("a.gif", animated, "a.gif must be a single image, got 2 frames or pages"),
        ("a.tif", animated, "a.tif must be a single image, got 2 frames or pages"),
        ("a.png", cut, "a.png must be an intact image, got "),
        ("a.png", lambda p: p.write_bytes(b"nothing"), "a.png must be an image that Pillow can read"),
        ("a.npy", lambda p: p.write_bytes(b"nothing"), "a.npy must be an array of numbers in NumPy's format"),
        ("a.npy", lambda p: np.save(p, np.array([{}])), "a.npy must be an array of numbers in NumPy's format"),
        ("a.npy", lambda p: np.save(p, np.full((8, 8), np.nan)), "a.npy must contain finite values, got NaN"),
        ("a.npy", lambda p: np.save(p, np.zeros((2, 8, 8, 3))), r"a.npy must have shape \(h, w\) or \(h, w, 3\), got"),
        ("a.png", lambda p: None, "must be an image file, got a path that does not exist"),
    ],
)
def test_images_that_cannot_be_used_give_a_one_line_error(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(InputError, match=message) as raised:
        read_image(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_single_image_is_refused_with_a_remedy():
    with pytest.raises(InputError, match=r"pass \[path\]"):
        as_pictures("a.png")
    with pytest.raises(InputError, match=r"pass a single image as \[image\]"):
        as_pictures(np.zeros((8, 8)))
    with pytest.raises(InputError, match="at least one image, got none"):
        as_pictures([])


def test_a_fit_refuses_images_of_which_only_some_are_8_bit():
    values = np.full((4, 4), 7, np.float32)
    one, other = Picture(values, True, "a"), Picture(values, False, "b")
    assert common_range([one, one]) == Range(0, 255)
    with pytest.raises(InputError, match=r"all images or none must be 8-bit .uint8., .* got a with 8 bits and b with"):
        common_range([other, one])


@pytest.mark.parametrize(
    ("dtype", "order"), [("f2", "C"), (">f4", "C"), (">i2", "F"), ("u8", "F"), ("f8", "F"), ("g", "C"), ("i1", "C")]
)
def test_values_do_not_depend_on_byte_order_or_memory_order(tmp_path, dtype, order):
    np.save(tmp_path / "a.npy", np.asarray(GREY % 100, dtype, order=order))
    for found in (read_image(tmp_path / "a.npy"), as_picture((GREY % 100).astype(dtype, order), "a")):
        np.testing.assert_array_equal(found.values, GREY % 100)
        assert found.values.dtype == np.float32
        assert found.values.flags.c_contiguous
        assert not found.eight_bit


def test_boolean_arrays_equal_files_with_one_bit_per_pixel(tmp_path):
    values = GREY % 3 == 0
    np.save(tmp_path / "a.npy", values)
    Image.fromarray(values).save(tmp_path / "a.png")
    array, file = read_image(tmp_path / "a.npy"), read_image(tmp_path / "a.png")
    assert array.eight_bit
    assert array.digest() == file.digest()


def test_tensors_are_images():
    torch = pytest.importorskip("torch")
    values = torch.arange(100.0).reshape(10, 10)
    for tensor in (values, values.bfloat16(), values.requires_grad_()):
        np.testing.assert_array_equal(as_picture(tensor, "a").values, np.arange(100.0).reshape(10, 10))
    assert as_picture(torch.zeros(8, 8, 3, dtype=torch.uint8), "a").eight_bit


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), complex), "a must contain real numbers, got dtype complex128: use its magnitude"),
        (np.zeros((8, 8), object), r"got dtype object: convert it, image.astype\(np.float32\)"),
        (np.zeros((8, 8), "V2"), "got dtype .V2: convert bfloat16 with"),
        (np.zeros((8, 8), [("hu", "f4"), ("label", "u1")]), "or select one field of a structured array"),
        (np.full((8, 8), "7"), "got dtype <U1: convert it"),
        (np.zeros((8, 8), "M8[s]"), r"got dtype datetime64\[s\]: convert it"),
        (np.ma.masked_equal(np.zeros((8, 8)), 0), r"must not be a masked array: fill it, image.filled\(value\)"),
        (np.zeros((3, 8, 8)), r"got \(3, 8, 8\): move the channels to the end, np.moveaxis\(image, 0, 2\)"),
        (np.zeros((1, 8, 8)), r"got \(1, 8, 8\): image\[0\] has this shape"),
        (np.zeros((8, 8, 4)), r"got \(8, 8, 4\): remove the last channel if it is alpha, image\[..., :3\]"),
        (np.zeros((9, 8, 7)), r"got \(9, 8, 7\): use each slice as an image of its own"),
        (np.zeros((0, 8)), r"must have shape \(h, w\) or \(h, w, 3\), got \(0, 8\)$"),
        (np.zeros(8), r"must have shape \(h, w\) or \(h, w, 3\), got \(8,\)$"),
        (3.0, r"must have shape \(h, w\) or \(h, w, 3\), got \(\)$"),
    ],
)
def test_arrays_that_cannot_be_used_give_a_remedy(image, message):
    with pytest.raises(InputError, match=message) as raised:
        as_picture(image, "a")
    assert "\n" not in str(raised.value)


def test_the_rows_of_an_rgb_image_are_not_taken_for_images():
    with pytest.raises(InputError, match=r"got \(20, 30, 3\): pass a single image as \[image\]"):
        as_pictures(np.zeros((20, 30, 3)))
