"""Suffixes of file names in any letter case."""

import numpy as np
import pytest
from preparing import prepare

from ildfv.datasets.discovery import discover
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.pipeline.prepare import prepare_scans

CASES = {"upper": str.upper, "title": str.title, "swapped": str.swapcase}
CODES = "[codes]\n0 = 'outside'\n1 = 'healthy'\n2 = 'ground glass'\n5 = 'emphysema'\n"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
def test_a_scan_and_its_label_map_give_the_same_slices(tmp_path, files, inline, suffix, case):
    hu = np.repeat(np.repeat(files.chest(), 4, axis=1), 4, axis=2)  # large enough to reach the limit of the file size
    write = files.nrrd if suffix == ".nrrd" else files.nifti
    stored = {}
    for folder, change in (("plain", str), ("changed", CASES[case])):
        for stem, volume in (("ct", hu), ("ct_label", files.codes(hu))):
            path = write(tmp_path / folder / "p1" / f"{stem}{suffix}", volume)
            path.rename(path.with_name(stem + change(suffix)))
        report = prepare(tmp_path / folder, tmp_path / f"{folder}-slices", codes="phantom", salt="0123456789abcdef")
        assert [scan.labelled for scan in report.prepared] == [True], report.quarantined
        slices = Slices(tmp_path / f"{folder}-slices")
        stored[folder] = slices.images(range(6)), slices.counts
    for plain, changed in zip(stored["plain"], stored["changed"], strict=True):
        np.testing.assert_array_equal(plain, changed)


@pytest.mark.parametrize("suffix", [".DCM", ".Dcm", ".IMA", ".dIcOm"])
def test_dicom_is_read_and_a_corrupt_slice_is_not_ignored(tmp_path, files, suffix):
    for path in files.series(tmp_path, files.chest()):
        path.rename(path.with_suffix(suffix))
    (tmp_path / f"corrupt{suffix}").write_bytes(b"not DICOM")
    found = discover(tmp_path)
    assert [scan.geometry.shape[0] for scan in found.scans] == [6]
    assert [unused.source.name for unused in found.quarantined] == [f"corrupt{suffix}"]


@pytest.mark.parametrize("name", ["codes.TOML", "Codes.toml", "CODES.TOML"])
def test_the_default_code_table_is_found(tmp_path, files, inline, name):
    hu = files.chest()
    files.nifti(tmp_path / "scans" / "p1" / "ct.nii", hu)
    files.nifti(tmp_path / "scans" / "p1" / "label.nii", files.codes(hu))
    (tmp_path / "scans" / name).write_text(CODES)
    result = prepare_scans(tmp_path / "scans", tmp_path / "w")
    assert result["labelled_slices"] == 6
    assert result["codes"].endswith(name)


def test_two_default_code_tables_in_one_folder_are_refused(tmp_path, files):
    files.nifti(tmp_path / "scans" / "ct.nii", files.chest())
    for name in ("codes.toml", "codes.TOML"):
        (tmp_path / "scans" / name).write_text(CODES)
    if len(list((tmp_path / "scans").glob("codes.*"))) < 2:
        pytest.skip("the file system ignores letter case")
    with pytest.raises(InputError, match=r"one code table, got codes\.TOML, codes\.toml"):
        prepare_scans(tmp_path / "scans", tmp_path / "w")
    assert not (tmp_path / "w").exists()
