"""Files in the usual encoding are read without pydicom, with the same headers, HU and errors as with it."""

import io
import os
import re

import numpy as np
import pytest
from pydicom import dcmread

from ildfv.datasets.convert import scan_slices
from ildfv.datasets.discovery import discover
from ildfv.datasets.settings import ScanSettings
from ildfv.errors import InputError
from ildfv.scans import read_header as module
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.frames import FrameReader
from ildfv.scans.plain_pixels import plain_hounsfield
from ildfv.scans.read_header import read_header
from ildfv.scans.series_slices import FractionalHounsfieldError, SeriesSlices

IMPLICIT = "1.2.840.10008.1.2"


def with_pydicom(monkeypatch, path):
    """The outcome of `read_header` when pydicom parses every file."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "plain_header", lambda *_: None)
        return outcome(path)


def outcome(path):
    try:  # only a plain header says where the pixels are
        return without_words(read_header(path))
    except InputError as error:
        return str(error)


def without_words(header):
    return re.sub(r"words=(None|Words\(.*?mtime_ns=\d+\))", "", repr(header))


def implicit(path):
    """Rewrites a file with implicit VRs."""
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = IMPLICIT
    content = io.BytesIO()
    dataset.save_as(content, implicit_vr=True, little_endian=True)
    path.write_bytes(content.getvalue())


@pytest.mark.parametrize("encoding", ["explicit", "implicit"])
def test_the_header_and_pixels_equal_those_of_pydicom(tmp_path, files, monkeypatch, encoding):
    paths = files.series(tmp_path, files.chest(), PixelPaddingValue=63, SeriesDescription="Chest 1.0")
    if encoding == "implicit":
        for path in paths:
            implicit(path)
    headers = [read_header(path) for path in paths]
    assert all(header.frames[0].words is not None for header in headers)
    for path, header in zip(paths, headers, strict=True):
        assert with_pydicom(monkeypatch, path) == without_words(header)
    plain = read_series(assemble(headers)).hu
    np.testing.assert_array_equal(plain, files.chest())
    with monkeypatch.context() as patch:
        patch.setattr(module, "plain_header", lambda *_: None)
        other = [read_header(path) for path in paths]
    np.testing.assert_array_equal(plain, read_series(assemble(other)).hu)


HEAD_FIRST_PRONE = {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]}


def downwards(z, dataset):
    """Slices towards the feet, which are stored in the other order."""
    x, y, height = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, -float(height)]
    return dataset


def shifted(z, dataset):
    """Slice 3 has another offset than its neighbours."""
    dataset.RescaleIntercept = -1024 + 300 * (z == 3)
    return dataset


@pytest.mark.parametrize(
    ("tags", "change"),
    [
        ({}, None),
        (HEAD_FIRST_PRONE, None),
        ({"ImageOrientationPatient": [1, 0, 0, 0, -1, 0]}, None),
        ({}, downwards),
        ({"RescaleSlope": 0.97, "RescaleIntercept": -1000}, None),
        ({}, shifted),
        ({"RescaleIntercept": 0}, None),
        ({"RescaleIntercept": -1900}, None),
    ],
    ids=[
        "axial",
        "prone",
        "normal towards the feet",
        "downwards",
        "fractional",
        "shifted slice",
        "unscaled",
        "no soft tissue",
    ],
)
def test_the_slices_of_a_series_equal_its_volume(tmp_path, files, tags, change):
    series = assemble([read_header(path) for path in files.series(tmp_path, files.chest(), change=change, **tags)])
    slices = SeriesSlices(series)
    assert len(slices) == 6
    try:
        volume = read_series(series)
    except InputError as error:
        with pytest.raises(InputError, match=re.escape(str(error))):
            list(slices)
        return
    if volume.hu.dtype != np.int16:
        with pytest.raises(FractionalHounsfieldError):
            list(slices)
        return
    for _ in range(2):
        np.testing.assert_array_equal(np.stack(list(slices)), volume.hu)
    np.testing.assert_array_equal(slices.geometry.positions, volume.positions)


def test_a_series_with_fractional_values_is_read_as_a_whole(tmp_path, files):
    files.series(tmp_path, files.chest(), RescaleSlope=0.97, RescaleIntercept=-1000)
    (scan,) = discover(tmp_path, ScanSettings(), workers=1).scans
    stored = scan_slices(scan, None, "0123456789abcdef")
    assert stored.images.shape == (6, 3, 224, 224)


def test_a_file_that_was_modified_after_its_header_was_read_is_read_again(tmp_path, files):
    path = files.series(tmp_path, files.chest(1))[0]
    frame = read_header(path).frames[0]
    dataset = dcmread(path)
    dataset.ImageComments = "moves the pixels"
    dataset.save_as(path)
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(FrameReader().hounsfield(path, frame), files.chest(1)[0])


def test_a_sequence_of_undefined_length_does_not_need_pydicom(tmp_path, files, monkeypatch):
    path = files.series(tmp_path, files.chest(1))[0]
    dataset = dcmread(path)
    item = dcmread(path, specific_tags=["PatientID"])
    del item.file_meta
    item.is_undefined_length_sequence_item = True
    dataset.ReferencedStudySequence = [item, item]
    dataset["ReferencedStudySequence"].is_undefined_length = True
    dataset.save_as(path)
    header = read_header(path)
    assert header.frames[0].words is not None
    assert with_pydicom(monkeypatch, path) == without_words(header)


@pytest.mark.parametrize(
    "tags",
    [{"SeriesDescription": "Schädel", "SpecificCharacterSet": "ISO_IR 100"}, {"PixelPaddingValue": -2048}],
    ids=["other characters", "declared padding"],
)
def test_text_in_other_characters_and_padding_give_the_same_header_and_pixels(tmp_path, files, monkeypatch, tags):
    stored = files.chest(1)
    path = files.series(tmp_path, stored, **tags)[0]
    assert outcome(path) == with_pydicom(monkeypatch, path)
    np.testing.assert_array_equal(FrameReader().hounsfield(path, read_header(path).frames[0]), stored[0])


def hounsfield(path, header):
    """The pixels in HU, or the message of the error."""
    try:
        return FrameReader().hounsfield(path, header.frames[0])
    except InputError as error:
        return str(error)


def overlay(path):
    dataset = dcmread(path)
    dataset.add_new(0x60000010, "US", 64)
    dataset.add_new(0x60000011, "US", 64)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 15)
    dataset.save_as(path)


def tagged(**tags):
    def change(path):
        dataset = dcmread(path)
        for name, value in tags.items():
            setattr(dataset, name, value)
        dataset.save_as(path)

    return change


def below_range(path):
    """12-bit signed values, one of which is below the range."""
    dataset = dcmread(path)
    pixels = np.clip(dataset.pixel_array - 1024, -2048, 2047).astype(np.int16)
    pixels[0, 0] = -3000
    dataset.BitsStored, dataset.HighBit, dataset.RescaleIntercept = 12, 11, 0
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)


def trailing(path):
    path.write_bytes(path.read_bytes() + b"\0" * 6)


def float_pixels(path):
    dataset = dcmread(path)
    dataset.add_new(0x7FE00008, "OF", b"\0\0\0\0")
    dataset.save_as(path)


def per_frame(path):
    dataset = dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence = []
    dataset.save_as(path)


@pytest.mark.parametrize(
    "change",
    [
        overlay,
        below_range,
        trailing,
        float_pixels,
        per_frame,
        tagged(PatientID="Müller", SpecificCharacterSet="ISO_IR 192"),
        tagged(PatientID="\x1b$BJ", SpecificCharacterSet=["", "ISO 2022 IR 87"]),
        tagged(RescaleSlope="1e11"),
    ],
    ids=["overlay", "below range", "trailing", "float pixels", "per frame", "UTF-8", "escape", "huge slope"],
)
@pytest.mark.filterwarnings("ignore")
def test_an_irregular_file_gives_the_outcome_of_pydicom(tmp_path, files, monkeypatch, change):
    path = files.series(tmp_path, files.chest(1))[0]
    change(path)
    assert outcome(path) == with_pydicom(monkeypatch, path)
    if isinstance(outcome(path), str) and not outcome(path).startswith("Header"):
        return
    header = read_header(path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "plain_header", lambda *_: None)
        other = read_header(path)
    if header.frames:
        np.testing.assert_array_equal(hounsfield(path, header), hounsfield(path, other))


@pytest.mark.parametrize("change", [overlay, trailing, float_pixels, per_frame, below_range], ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore")
def test_the_pixels_of_an_irregular_file_are_left_to_pydicom(tmp_path, files, change):
    path = files.series(tmp_path, files.chest(1))[0]
    change(path)
    frames = read_header(path).frames
    assert all(plain_hounsfield(path, frame) is None for frame in frames)


def test_a_file_of_the_same_size_that_was_modified_later_is_left_to_pydicom(tmp_path, files):
    path = files.series(tmp_path, files.chest(1))[0]
    frame = read_header(path).frames[0]
    assert plain_hounsfield(path, frame) is not None
    os.utime(path, ns=(1, 1))
    assert plain_hounsfield(path, frame) is None
