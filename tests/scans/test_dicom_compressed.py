"""Compressed DICOM: encoded voxels are decoded exactly, and a missing decoder is reported."""

import gdcm
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from ildfv.errors import InputError, MissingPackageError
from ildfv.scans import pixels
from ildfv.scans.dicom import assemble, read_series
from ildfv.scans.libraries import quiet
from ildfv.scans.read_header import read_header


def read(paths):
    with quiet():
        return read_series(assemble([read_header(path) for path in paths])).hu


def compressor(syntax, **options):
    def change(z, dataset):
        dataset.compress(syntax, generate_instance_uid=False, **options)
        return dataset

    return change


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    ("syntax", "plugin"),
    [(RLELossless, "pydicom"), (JPEG2000Lossless, "pylibjpeg"), (JPEGLSLossless, "pyjpegls")],
    ids=["RLE", "JPEG 2000", "JPEG-LS"],
)
def test_lossless_syntaxes_preserve_the_voxels(tmp_path, files, syntax, plugin, signed):
    compress = compressor(syntax, encoding_plugin=plugin)

    def change(z, dataset):
        if not signed:  # only the declaration changes, because all values are positive
            dataset.PixelRepresentation = 0
        return compress(z, dataset)

    hu = np.maximum(files.chest(3), -1024)
    paths = files.series(tmp_path, hu, change=change)
    assert dcmread(paths[0]).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read(paths), hu)


def test_jpeg_lossless_written_by_gdcm_preserves_the_voxels(tmp_path, files):
    hu = files.chest(3)
    paths = files.series(tmp_path, hu)
    for path in paths:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    assert dcmread(paths[0]).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    np.testing.assert_array_equal(read(paths), hu)


def test_lossy_syntaxes_are_read_within_their_loss(tmp_path, files):
    hu = files.chest(2)
    near = files.series(tmp_path / "a", hu, change=compressor(JPEGLSNearLossless, jls_error=3))
    assert 0 < np.abs(read(near).astype(int) - hu).max() <= 3
    j2k = files.series(tmp_path / "b", hu, change=compressor(JPEG2000, j2k_psnr=[90]))
    assert 0 < np.abs(read(j2k).astype(int) - hu).max() < 20


@pytest.mark.parametrize("kept", [0.5, 0.99])
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_a_truncated_compressed_file_is_refused(tmp_path, files, syntax, kept):
    (path,) = files.series(tmp_path, files.chest(1), change=compressor(syntax))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match="PixelData must be complete, got a truncated file"):
        read([path])


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_a_corrupt_stream_is_refused_with_its_file(tmp_path, files, syntax):
    def change(z, dataset):
        compressor(syntax)(z, dataset)
        data = bytearray(dataset.PixelData)
        data[60:] = bytes(len(data) - 60)
        dataset.PixelData = bytes(data)
        return dataset

    with pytest.raises(InputError, match=r"slice\d+.dcm[: ].*must (be|declare)"):
        read(files.series(tmp_path, files.chest(1), change=change))


@pytest.mark.parametrize(
    ("syntax", "marker", "at", "size"),
    [(JPEGLSLossless, b"\xff\xf7", 5, b"\xea\x60" * 2), (JPEG2000Lossless, b"\xff\x51", 6, b"\0\0\xea\x60" * 2)],
    ids=["JPEG-LS", "JPEG 2000"],
)
def test_a_stream_cannot_declare_a_huge_slice_inside_a_small_header(tmp_path, files, syntax, marker, at, size):
    def change(z, dataset):
        compressor(syntax)(z, dataset)
        data = bytearray(dataset.PixelData)
        start = data.index(marker) + at
        data[start : start + len(size)] = size
        dataset.PixelData = bytes(data)
        return dataset

    with pytest.raises(InputError, match="must declare 64 × 64 × 1 pixels, got 60000 × 60000 × 1"):
        read(files.series(tmp_path, files.chest(1), change=change))


@pytest.mark.parametrize(
    ("syntax", "package"),
    [(JPEG2000Lossless, "pylibjpeg-openjpeg"), (JPEGLSLossless, "pyjpegls"), (JPEGLosslessSV1, "python-gdcm")],
)
def test_a_missing_decoder_is_named_with_its_package(tmp_path, files, monkeypatch, syntax, package):
    class Decoder:
        available_plugins = ()

    def change(z, dataset):
        compressor(JPEGLSLossless)(z, dataset)
        dataset.file_meta.TransferSyntaxUID = syntax
        return dataset

    paths = files.series(tmp_path, files.chest(1), change=change)
    monkeypatch.setattr("pydicom.pixels.get_decoder", lambda uid: Decoder)
    with pytest.raises(MissingPackageError, match=f"{package} is required for .*: pip install {package}"):
        read(paths)


def test_every_plugin_named_is_one_that_pydicom_has():
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    for syntax, (_, plugin, package) in pixels.DECODERS.items():
        if package is not None:
            assert plugin in get_decoder(UID(syntax)).available_plugins, UID(syntax).name
            assert package not in ("pylibjpeg-libjpeg",)  # GPL
    assert HTJ2KLossless in pixels.DECODERS


def test_an_unsupported_transfer_syntax_is_named(tmp_path, files):
    def change(z, dataset):
        compressor(RLELossless)(z, dataset)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
        return dataset

    with pytest.raises(InputError, match="transfer syntax must be one that is used for CT, got MPEG2"):
        read(files.series(tmp_path, files.chest(1), change=change))
