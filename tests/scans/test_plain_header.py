"""Files in the usual encoding are read without pydicom, with the same headers, HU and errors as with it."""

import io
import os
import re

import numpy as np
import pytest
from pydicom import dcmread

from ildfv.errors import InputError
from ildfv.scans import read_header as module
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.frames import FrameReader
from ildfv.scans.read_header import read_header
from ildfv.scans.series_slices import SeriesSlices

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


def test_the_slices_of_a_series_equal_its_volume(tmp_path, files):
    series = assemble([read_header(path) for path in files.series(tmp_path, files.chest())])
    slices = SeriesSlices(series)
    for _ in range(2):
        np.testing.assert_array_equal(np.stack(list(slices)), read_series(series).hu)
    assert len(slices) == 6


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
