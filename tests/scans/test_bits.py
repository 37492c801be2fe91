"""The bits of a pixel have one meaning, or the file is refused, whether or not it is compressed."""

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from ildfv.errors import InputError
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.libraries import quiet
from ildfv.scans.read_header import read_header

UNSIGNED_12 = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
SIGNED_12 = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1, "RescaleIntercept": 0}
COMPRESSED = pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless, JPEGLSLossless])


def read(paths):
    with quiet():
        return read_series(assemble([read_header(path) for path in paths])).hu


def write(folder, files, words, syntax=None, after=None, **tags):
    """Writes a series of these 16-bit words. after: tags that are set after the pixels were compressed."""

    def change(z, dataset):
        dataset.PixelData = words[z].tobytes()
        if syntax is not None:
            dataset.compress(syntax, generate_instance_uid=False)
        for name, value in (after or {}).items():
            setattr(dataset, name, value)
        return dataset

    return files.series(folder, files.chest(len(words)), change=change, **tags)


def refused(paths, match):
    with pytest.raises(InputError, match=match):
        read(paths)


def words_of(hu, intercept=-1024):
    return (hu - intercept).astype(np.int16)


@COMPRESSED
def test_signed_and_unsigned_twelve_bit_values_are_read(tmp_path, files, syntax):
    hu = files.chest(2)
    np.testing.assert_array_equal(read(write(tmp_path / "u", files, words_of(hu), syntax, **UNSIGNED_12)), hu)
    np.testing.assert_array_equal(read(write(tmp_path / "s", files, words_of(hu, 0), syntax, **SIGNED_12)), hu)


def test_big_endian_words_have_the_same_meaning(tmp_path, files):
    hu = files.chest(2)

    def change(z, dataset):
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset.PixelData = words_of(hu)[z].astype(">i2").tobytes()
        return dataset

    np.testing.assert_array_equal(read(files.series(tmp_path, hu, change=change, **UNSIGNED_12)), hu)


@COMPRESSED
@pytest.mark.parametrize("high", [15, 10])
def test_another_high_bit_is_refused(tmp_path, files, syntax, high):
    paths = write(tmp_path, files, words_of(files.chest(2)), syntax, after={"HighBit": high}, **UNSIGNED_12)
    refused(paths, rf"HighBit must be BitsStored - 1 \(11\), got {high}")


def test_without_a_high_bit_the_value_is_in_the_low_bits(tmp_path, files):
    hu = files.chest(2)
    np.testing.assert_array_equal(read(write(tmp_path, files, words_of(hu), **UNSIGNED_12 | {"HighBit": None})), hu)


@pytest.mark.parametrize(
    ("tags", "match"),
    [
        ({"BitsStored": None}, "BitsStored must be 2 … 16, got none"),
        ({"BitsStored": 17, "HighBit": 16}, "BitsStored must be 2 … 16, got 17"),
        ({"PixelRepresentation": None}, "PixelRepresentation must be 0 or 1, got none"),
        ({"PixelRepresentation": 2}, "PixelRepresentation must be 0 or 1, got 2"),
    ],
)
def test_an_invalid_declaration_is_refused(tmp_path, files, tags, match):
    refused(write(tmp_path, files, words_of(files.chest(2)), **UNSIGNED_12 | tags), match)


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_values_beyond_the_declared_bits_are_refused(tmp_path, files, syntax):
    words = words_of(files.chest(2))
    words[1, 30, 30] = 5000
    after = {"BitsStored": 12, "HighBit": 11}
    refused(
        write(tmp_path, files, words, syntax, after=after, PixelRepresentation=0),
        r"slice\d+.dcm: pixel values must fit in BitsStored \(12, unsigned\), got 5000 \(pixels: 1\)",
    )


def test_negative_values_without_copies_of_the_sign_are_refused(tmp_path, files):
    words = words_of(files.chest(2), 0) & 0x0FFF
    refused(write(tmp_path, files, words, **SIGNED_12), r"must fit in BitsStored \(12, signed\), got 3")


@pytest.mark.parametrize("signed", [False, True])
def test_declared_overlays_in_the_upper_bits_are_removed(tmp_path, files, signed):
    hu = files.chest(2)
    tags = SIGNED_12 if signed else UNSIGNED_12
    words = words_of(hu, 0 if signed else -1024)
    words[:, :8, 20:40] ^= 1 << 13
    words[:, 5:, 50:] ^= np.int16(-32768)

    def overlays(*bits):
        def change(z, dataset):
            for number, bit in enumerate(bits):
                dataset.add_new((0x6000 + 2 * number, 0x0100), "US", 16)
                dataset.add_new((0x6000 + 2 * number, 0x0102), "US", bit)
            dataset.PixelData = words[z].tobytes()
            return dataset

        return change

    paths = files.series(tmp_path / "a", hu, change=overlays(13, 15), **tags)
    np.testing.assert_array_equal(read(paths), hu)
    refused(files.series(tmp_path / "b", hu, change=overlays(13), **tags), "must fit in BitsStored")
    refused(files.series(tmp_path / "c", hu, change=overlays(13, 15, 3), **tags), "OverlayBitPosition must be at least")


def test_declared_padding_may_be_outside_the_declared_bits(tmp_path, files):
    hu = files.chest(2)
    words = words_of(hu)
    words[:, :4] = -2000
    got = read(write(tmp_path, files, words, **UNSIGNED_12, PixelPaddingValue=63536))
    assert (got[:, :4] == -3024).all()
    np.testing.assert_array_equal(got[:, 4:], hu[:, 4:])


@pytest.mark.parametrize("declared", [0, 1])
def test_a_stream_whose_sign_contradicts_the_header_is_refused_if_values_depend_on_it(tmp_path, files, declared):
    hu = files.chest(2)
    tags = UNSIGNED_12 if declared else SIGNED_12
    words = words_of(hu) if declared else words_of(hu, 0)
    words[0, 0, 0] = 3000 if declared else -1000
    paths = write(tmp_path / "a", files, words, JPEG2000Lossless, after={"PixelRepresentation": declared}, **tags)
    refused(paths, "PixelRepresentation must match the compressed stream")
    words = np.minimum(words_of(hu), 2047)  # with the highest bit 0, signed and unsigned values are equal
    paths = write(
        tmp_path / "b",
        files,
        words,
        JPEG2000Lossless,
        after={"PixelRepresentation": declared, "RescaleIntercept": -1024},
        **tags,
    )
    np.testing.assert_array_equal(read(paths), words - 1024)


def test_a_stream_with_fewer_bits_than_declared_is_refused_if_its_sign_depends_on_them(tmp_path, files):
    words = words_of(files.chest(2), 0)
    paths = write(tmp_path, files, words, JPEGLSLossless, after={"BitsStored": 14, "HighBit": 13}, **SIGNED_12)
    refused(paths, r"signed values must have BitsStored \(14\) bits, got 12")
