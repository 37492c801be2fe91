"""NIfTI and NRRD: geometry in every stored order, and what is refused."""

import gzip

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.scans.geometry import difference
from ildfv.scans.volumefiles import file_geometry, format_of, read_file, read_label_file


def read(path):
    kind = format_of(path, path.read_bytes()[:512])
    return read_file(path, kind, patient_id="p", series_id="s")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
def test_a_file_gives_the_same_volume_as_the_series_it_was_made_from(tmp_path, files, name):
    hu = files.chest()
    volume = read((files.nrrd if name.endswith("nrrd") else files.nifti)(tmp_path / name, hu))
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.origin, files.origin)
    np.testing.assert_allclose(volume.spacing, files.spacing)
    np.testing.assert_allclose(volume.direction, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2), (0, 1, 2)])
def test_any_axis_order_and_flip_gives_the_same_volume(tmp_path, files, order, flips):
    import nibabel

    hu = files.chest()
    array, affine = hu.transpose(2, 1, 0), files.affine()  # axes x, y, z
    for axis in flips:
        array = np.flip(array, axis)
        affine[:3, 3] += (array.shape[axis] - 1) * affine[:3, axis]
        affine[:3, axis] *= -1
    array, affine = array.transpose(order), affine[:, [*order, 3]]
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array), affine), tmp_path / "a.nii.gz")
    volume = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.origin, files.origin, atol=1e-4)


@pytest.mark.parametrize("space", ["right-anterior-superior", "left-anterior-superior", "LPS"])
def test_nrrd_spaces_are_converted_to_patient_axes(tmp_path, files, space):
    sign = {"r": -1, "l": 1, "L": 1}[space[0]], 1 if space == "LPS" else -1, 1
    volume = read(
        files.nrrd(
            tmp_path / "a.nrrd",
            files.chest(),
            **{
                "space": space,
                "space directions": np.diag(files.spacing[::-1]) * sign,
                "space origin": np.array(files.origin) * sign,
            },
        )
    )
    np.testing.assert_array_equal(volume.hu, files.chest())
    np.testing.assert_allclose(volume.origin, files.origin)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, ">i2", np.int32, np.float64])
def test_all_nrrd_encodings_and_types_are_read(tmp_path, files, encoding, dtype):
    path = files.nrrd(tmp_path / "a.nrrd", files.chest(3).astype(dtype), encoding=encoding)
    np.testing.assert_array_equal(read(path).hu, files.chest(3))


def test_nifti_scaling_is_applied(tmp_path, files):
    import nibabel

    stored = (files.chest() + 1024).astype(np.uint16).transpose(2, 1, 0)
    image = nibabel.Nifti1Image(stored, files.affine())
    image.header.set_slope_inter(1, -1024)
    nibabel.save(image, tmp_path / "a.nii")
    assert read(tmp_path / "a.nii").hu.dtype == np.int16
    np.testing.assert_array_equal(read(tmp_path / "a.nii").hu, files.chest())


def test_the_geometry_is_read_without_the_voxels(tmp_path, files):
    path = files.nrrd(tmp_path / "a.nrrd", files.chest(), encoding="raw")
    assert file_geometry(path, "nrrd").shape == (6, 64, 64)


def test_labels_keep_their_values(tmp_path, files):
    codes = files.codes(files.chest()).astype(np.uint16) << 8
    np.testing.assert_array_equal(read_label_file(files.nifti(tmp_path / "l.nii.gz", codes), "nifti"), codes)


def test_a_label_map_in_another_axis_order_matches_its_scan(tmp_path, files):
    import nibabel

    codes = files.codes(files.chest())
    array, affine = np.flip(codes.transpose(2, 1, 0), (0, 2)), files.affine()
    for axis in (0, 2):
        affine[:3, 3] += (array.shape[axis] - 1) * affine[:3, axis]
        affine[:3, axis] *= -1
    nibabel.save(
        nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 0, 1)), affine[:, [2, 0, 1, 3]]), tmp_path / "l.nii"
    )
    scan = file_geometry(files.nrrd(tmp_path / "ct.nrrd", files.chest()), "nrrd")
    assert difference(scan, file_geometry(tmp_path / "l.nii", "nifti")) is None
    np.testing.assert_array_equal(read_label_file(tmp_path / "l.nii", "nifti"), codes)


def refused(path, match):
    with pytest.raises(InputError, match=match) as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
@pytest.mark.parametrize("kept", [0.0, 0.005, 0.6, 0.999])
def test_a_truncated_file_is_refused(tmp_path, files, name, kept):
    path = (files.nrrd if name.endswith("nrrd") else files.nifti)(tmp_path / name, files.chest())
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    refused(path, "must be|must contain")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
def test_corrupt_bytes_are_refused(tmp_path, files, name):
    path = (files.nrrd if name.endswith("nrrd") else files.nifti)(tmp_path / name, files.chest())
    path.write_bytes(b"\xff" * path.stat().st_size)
    refused(path, "must be")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_small_nifti_cannot_declare_a_huge_volume(tmp_path, files, name):
    import nibabel

    header = nibabel.Nifti2Header()
    header.set_data_shape((65535, 65535, 50))
    header.set_data_dtype(np.int16)
    header.set_sform(files.affine(), code=1)
    header["vox_offset"], header["magic"] = 544, b"n+2\0\r\n\x1a\n"
    data = (header.binaryblock + bytes(160))[:700]
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    refused(tmp_path / name, r"at most 4096, got shape \(65535, 65535, 50\)")


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize(("sizes", "match"), [("65535 65535 50", "at most 4096"), ("4000 4000 400", "at most 2,147")])
def test_a_small_nrrd_cannot_declare_a_huge_volume(tmp_path, encoding, sizes, match):
    (tmp_path / "a.nrrd").write_text(
        f"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
        f"space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nendian: little\nencoding: {encoding}\n\nxx"
    )
    refused(tmp_path / "a.nrrd", match)


def test_a_small_gzip_cannot_declare_more_than_gzip_can_hold(tmp_path, files):
    path = files.nrrd(tmp_path / "a.nrrd", files.chest())
    data = path.read_bytes().replace(b"sizes: 64 64 6", b"sizes: 2048 2048 100")
    path.write_bytes(data)
    refused(path, "must contain 838,860,800 bytes of voxels, got .* bytes, too few even if compressed")


def test_a_gzip_bomb_is_not_inflated(tmp_path, files):
    path = files.nrrd(tmp_path / "a.nrrd", files.chest())
    head = path.read_bytes().split(b"\n\n")[0] + b"\n\n"
    path.write_bytes(head + gzip.compress(files.chest().tobytes() + bytes(20_000_000)))
    refused(path, "must contain 49,152 bytes of voxels, got more")


def test_nan_pixels_are_counted(tmp_path, files):
    hu = files.chest().astype(np.float32)
    hu[2, 10, 10:13] = np.nan
    hu[3, 1, 1] = np.inf
    refused(files.nifti(tmp_path / "a.nii.gz", hu), r"HU must be finite, got NaN or infinity \(voxels: 4\)")
    refused(files.nrrd(tmp_path / "a.nrrd", hu), r"HU must be finite, got NaN or infinity \(voxels: 4\)")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda hu: hu + 1024, "HU must be above 700 in at most 10%"),
        (lambda hu: np.full_like(hu, -900), "HU must include soft tissue"),
        (lambda hu: np.where(hu > 40, 20001, hu), r"HU must be above 700 in at most 10% .* 20001"),
        (lambda hu: np.where(hu > 65, 20001, hu), r"HU must be above 20000 in at most 1% .* 20001"),
    ],
)
def test_values_that_cannot_be_hounsfield_units_are_refused(tmp_path, files, change, match):
    refused(files.nrrd(tmp_path / "a.nrrd", change(files.chest().astype(np.int16)).astype(np.int16)), match)


def test_an_oblique_volume_is_refused(tmp_path, files):
    a = np.radians(12)
    turn = np.array([[np.cos(a), -np.sin(a), 0, 0], [np.sin(a), np.cos(a), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    refused(files.nifti(tmp_path / "a.nii.gz", files.chest(), affine=turn @ files.affine()), "axial within 5°.*12.0°")


def test_a_nifti_needs_an_affine_in_mm(tmp_path, files):
    refused(files.nifti(tmp_path / "a.nii", files.chest(), sform_code=0, qform_code=0), "must have an affine")
    refused(files.nifti(tmp_path / "b.nii", files.chest(), qoffset_x=40.0, qform_code=1), "sform and qform must agree")
    files.nifti(tmp_path / "c.nii", files.chest(), qoffset_x=128.2, qform_code=1)  # rounded: 0.2 mm of a voxel of 4 mm
    np.testing.assert_array_equal(read(tmp_path / "c.nii").hu, files.chest())
    refused(files.nifti(tmp_path / "c.nii", files.chest(), xyzt_units=3), "must be in mm, got micron")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"space: left-posterior-superior\n", b"", "space must be one of"),
        (b"space: left-posterior-superior", b"space: scanner-xyz", "space must be one of"),
        (b"endian: little", b"endian: middle", "must be"),
        (b"encoding: gzip", b"encoding: hex", "encoding must be raw, gzip or bzip2, got 'hex'"),
        (
            b"encoding: gzip",
            b"encoding: gzip\ndata file: /etc/passwd",
            "data file must be one file in the folder of the header, got a list, a pattern or a path",
        ),
        (b"encoding: gzip", b"encoding: gzip\nbyte skip: 9", "byte or line skip"),
        (b"type: int16", b"type: block", "must be"),
    ],
)
def test_an_incomplete_or_unsupported_nrrd_header_is_refused(tmp_path, files, old, new, match):
    path = files.nrrd(tmp_path / "a.nrrd", files.chest())
    data = path.read_bytes()
    assert old in data, data[:400]
    path.write_bytes(data.replace(old, new))
    refused(path, match)


def test_more_than_one_volume_in_a_file_is_refused(tmp_path, files):
    import nibabel

    four = np.stack([files.chest().transpose(2, 1, 0)] * 2, axis=-1)
    nibabel.save(nibabel.Nifti1Image(four, files.affine()), tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "one volume with 3 axes")
