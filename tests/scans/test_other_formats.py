"""Volumes with a detached header, and MetaImage: the same voxels as from one NIfTI or NRRD file, within limits."""

import gzip

import nibabel
import numpy as np
import pytest

from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.scans.volumefiles import files_of, format_of, read_file

SimpleITK = pytest.importorskip("SimpleITK")


def pair(path, files, volume):
    image = nibabel.Nifti1Pair(np.ascontiguousarray(volume.transpose(2, 1, 0)), files.affine())
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def detached(path, files, volume):
    return files.nrrd(path, volume, **{"encoding": "raw"})


def metaimage(path, files, volume, *, compressed=False):
    image = SimpleITK.GetImageFromArray(volume)
    image.SetSpacing([float(value) for value in files.spacing[::-1]])
    image.SetOrigin([float(value) for value in files.origin])
    SimpleITK.WriteImage(image, str(path), useCompression=compressed)
    return path


WRITERS = {
    "ct.hdr": pair,
    "ct.nhdr": detached,
    "ct.mhd": metaimage,
    "ct.mha": metaimage,
    "ct.MHA": lambda path, files, volume: metaimage(path.with_suffix(".mha"), files, volume, compressed=True).rename(
        path
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_voxels_and_grid_are_those_of_nifti(tmp_path, files, name):
    hu = files.chest()
    hu[:, :9, :9] = -900  # so that no flip or rotation gives the same volume
    (tmp_path / "p1").mkdir()
    WRITERS[name](tmp_path / "p1" / name, files, hu)
    files.nifti(tmp_path / "p2" / "ct.nii.gz", hu)
    found = discover(tmp_path)
    assert not found.quarantined
    assert not found.ignored  # the data file counts as a part of its header
    one, other = (
        read_file(scan.source, scan.kind, patient_id="p", series_id="s") for scan in sorted(found.scans, key=str)
    )
    np.testing.assert_array_equal(one.hu, other.hu)
    np.testing.assert_allclose(one.geometry.origin, other.geometry.origin)
    np.testing.assert_allclose(one.geometry.steps, other.geometry.steps)


def test_a_rotated_metaimage_is_brought_to_canonical_order(tmp_path, files):
    hu = files.chest()
    hu[:, :9, :9] = -900
    image = SimpleITK.GetImageFromArray(hu[::-1, :, ::-1].copy())
    image.SetSpacing([float(value) for value in files.spacing[::-1]])
    corner = np.array(files.origin) + np.array([63, 0, 5]) * files.spacing[::-1]
    image.SetOrigin([float(value) for value in corner])
    image.SetDirection([-1, 0, 0, 0, 1, 0, 0, 0, -1])
    SimpleITK.WriteImage(image, str(tmp_path / "ct.mha"))
    volume = read_file(tmp_path / "ct.mha", "metaimage", patient_id="p", series_id="s")
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.origin, files.origin)


def test_the_data_file_is_one_of_the_scans_files(tmp_path, files):
    for name in ("ct.hdr", "ct.nhdr", "ct.mhd"):
        path = WRITERS[name](tmp_path / name, files, files.chest())
        assert len(files_of(path, format_of(path, path.read_bytes()[:512]))) == 2


@pytest.mark.parametrize("name", ["ct.hdr", "ct.nhdr", "ct.mhd"])
def test_a_missing_or_short_data_file_is_refused(tmp_path, files, name):
    path = WRITERS[name](tmp_path / name, files, files.chest())
    kind = format_of(path, path.read_bytes()[:512])
    data = files_of(path, kind)[1]
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"bytes|readable"):
        read_file(path, kind, patient_id="p", series_id="s")
    data.unlink()
    (unused,) = discover(tmp_path).quarantined
    assert "folder" in unused.reason


@pytest.mark.parametrize("name", ["/etc/hostname", "../ct.raw", "LIST", "slice%03d.raw"])
def test_a_data_file_elsewhere_is_refused(tmp_path, files, name):
    path = metaimage(tmp_path / "ct.mhd", files, files.chest())
    path.write_text(path.read_text().replace("ct.raw", name))
    (unused,) = discover(tmp_path).quarantined
    assert "must be one file in the folder of the header" in unused.reason


def test_a_small_compressed_metaimage_cannot_declare_a_huge_volume(tmp_path, files):
    path = metaimage(tmp_path / "ct.mha", files, files.chest(), compressed=True)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"DimSize = 64 64 6", b"DimSize = 1000 1000 500"))
    (unused,) = discover(tmp_path).quarantined
    assert unused.reason.endswith("(truncated?)"), unused.reason


def test_analyze_is_refused_because_it_has_no_orientation(tmp_path, files):
    nibabel.save(nibabel.AnalyzeImage(files.chest().transpose(2, 1, 0), np.diag([4.0, 4, 5, 1])), tmp_path / "ct.hdr")
    reasons = {unused.source.name: unused.reason for unused in discover(tmp_path).quarantined}
    assert "got Analyze, in which left and right are ambiguous" in reasons["ct.hdr"]


def test_a_detached_label_map_belongs_to_its_scan(tmp_path, files):
    hu = files.chest()
    files.nifti(tmp_path / "p1/ct.nii.gz", hu)
    detached(tmp_path / "p1/labels.nhdr", files, files.codes(hu))
    (scan,) = discover(tmp_path).scans
    assert [label.path.name for label in scan.labels] == ["labels.nhdr"]


def test_a_compressed_data_file_is_limited_to_the_declared_size(tmp_path, files):
    path = files.nrrd(tmp_path / "ct.nhdr", files.chest(), encoding="gzip")
    data = files_of(path, "nrrd")[1]
    data.write_bytes(gzip.compress(gzip.decompress(data.read_bytes()) + bytes(1 << 20)))
    with pytest.raises(InputError, match="bytes of voxels, got more"):
        read_file(path, "nrrd", patient_id="p", series_id="s")


@pytest.mark.parametrize(("name", "data"), [("ct.hdr", "ct.img"), ("ct.nhdr", "ct.raw"), ("ct.mhd", "ct.raw")])
def test_a_data_file_that_is_too_small_is_named(tmp_path, files, name, data):
    path = WRITERS[name](tmp_path / name, files, files.chest())
    (tmp_path / data).write_bytes(bytes(10))
    with pytest.raises(InputError, match=rf"{data} must contain 49,152 bytes of voxels, got 10 bytes.*\(truncated\?\)"):
        read_file(path, format_of(path, b""), patient_id="p", series_id="s")
