"""Label maps that are read slice by slice have the meanings, counts and errors of those that are read as a whole."""

import nibabel
import numpy as np
import pytest

from ildfv.datasets.discovery import discover
from ildfv.datasets.label_slices import label_slices
from ildfv.datasets.read_labels import read_labels
from ildfv.datasets.settings import ScanSettings
from ildfv.errors import InputError
from ildfv.scans.labels import MEANINGS, UNKNOWN, Codes, meaning_counts


@pytest.fixture
def made(tmp_path, files):
    """A function that writes a scan with a label map, and returns the scan and its codes."""

    def write(labels, name="labels.nii.gz", table="phantom", turned=None):
        codes = Codes.load(table)
        files.series(tmp_path / "p1" / "ct", files.chest(len(labels)))
        path = files.nifti(tmp_path / "p1" / name, labels)
        if turned is not None:  # the same label map with axes in another order or direction
            image = nibabel.load(path)
            nibabel.save(image.as_reoriented(turned), path)
        (scan,) = discover(tmp_path, ScanSettings(codes=codes), workers=1).scans
        assert scan.labels
        return scan, codes

    return write


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("name", ["labels.nii", "labels.nii.gz"])
def test_meanings_and_counts_equal_those_of_the_whole_label_map(made, files, dtype, name):
    scan, codes = made(files.codes(files.chest()).astype(dtype), name)
    whole = read_labels(scan, scan.geometry, codes)
    found = {z: (meanings, counts) for z, meanings, counts in label_slices(scan, scan.geometry, codes)}
    assert sorted(found) == list(range(6))
    np.testing.assert_array_equal(np.stack([found[z][0] for z in range(6)]), whole)
    np.testing.assert_array_equal(np.stack([found[z][1] for z in range(6)]), meaning_counts(whole))


TURNED = {
    "slices downwards": [[0, 1], [1, 1], [2, -1]],
    "rows upwards": [[0, 1], [1, -1], [2, 1]],
    "slices first": [[1, 1], [2, 1], [0, 1]],
}


@pytest.mark.parametrize("turned", list(TURNED.values()), ids=list(TURNED))
def test_a_label_map_in_another_orientation_has_the_same_meanings(made, files, turned):
    labels = files.codes(files.chest())
    labels[4:] = 0  # slices differ
    scan, codes = made(labels, turned=np.array(turned))
    found = {z: (meanings, counts) for z, meanings, counts in label_slices(scan, scan.geometry, codes)}
    whole = read_labels(scan, scan.geometry, codes)
    np.testing.assert_array_equal(np.stack([found[z][0] for z in range(6)]), whole)
    np.testing.assert_array_equal(np.stack([found[z][0] for z in range(6)]), codes.translate(labels))


def test_codes_in_higher_bits_have_the_meanings_of_the_whole_label_map(made, files):
    shifted = Codes.load("cip")
    assert shifted.shift > 0
    code = min(c for c in shifted.meanings if c > 0)
    labels = ((files.codes(files.chest()) > 0) * (code << shifted.shift) + 3).astype(np.uint16)
    scan, codes = made(labels, table="cip")
    whole = read_labels(scan, scan.geometry, codes)
    found = {z: meanings for z, meanings, _ in label_slices(scan, scan.geometry, codes)}
    np.testing.assert_array_equal(np.stack([found[z] for z in range(6)]), whole)
    assert len(np.unique(whole)) > 1


def test_negative_values_are_unknown_also_where_the_same_bits_are_a_code():
    codes = Codes({0: "outside", 40000: "emphysema"}, name="large codes")
    assert codes.table(signed=False)[40000] == MEANINGS.index("emphysema")
    assert codes.table(signed=True)[40000] == UNKNOWN


@pytest.mark.parametrize("value", [77, -1])
def test_an_unknown_code_in_the_last_slice_is_refused(made, files, value):
    labels = files.codes(files.chest()).astype(np.int16)
    labels[-1, 0, 0] = value
    scan, codes = made(labels)
    with pytest.raises(InputError, match=rf"label map labels\.nii\.gz: .*{value}"):
        list(label_slices(scan, scan.geometry, codes))


def test_a_truncated_label_map_is_refused(made, files):
    scan, codes = made(files.codes(files.chest()))
    path = scan.labels[0].path
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"label map labels\.nii\.gz: .*voxels must be readable"):
        list(label_slices(scan, scan.geometry, codes))
