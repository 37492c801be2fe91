"""Parts record how a scan was made, and parts of earlier versions keep their bytes."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from preparing import prepare

from ildfv.datasets import convert
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.scans.technique import LONGEST, UNKNOWN, Technique, name
from ildfv.scans.windows import GRID

SALT = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _inline(inline):
    pass


def attributes(folder):
    """The attributes of the only part of a folder."""
    (path,) = folder.glob("*.h5")
    with h5py.File(path) as part:
        return dict(part.attrs)


def test_the_technique_of_a_dicom_series_is_recorded(files, tmp_path):
    files.series(tmp_path / "in", files.chest(20), ConvolutionKernel="B70f", Manufacturer="SIEMENS")
    prepare(tmp_path / "in", tmp_path / "out", salt=SALT)
    (technique,) = Slices(tmp_path / "out").techniques
    assert technique == Technique(5.0, "B70f", "SIEMENS", technique.air)
    assert technique.air == pytest.approx(-970, abs=30)  # a generated slice is 3 HU denser than the one below it
    assert attributes(tmp_path / "out")["format"] == 2  # earlier versions can read the part


def test_a_grid_other_than_that_of_the_paper_is_recorded(files, tmp_path):
    hu = files.chest(4)
    files.series(tmp_path / "in", hu)
    prepare(tmp_path / "in", tmp_path / "out", salt=SALT)
    assert max(hu.shape[1:]) != 512
    assert Slices(tmp_path / "out").grids.tolist() == [max(hu.shape[1:])] * 4


def test_a_volume_file_has_only_a_level_of_air(files, tmp_path):
    files.nifti(tmp_path / "in" / "ct.nii.gz", files.chest(20))
    prepare(tmp_path / "in", tmp_path / "out", salt=SALT)
    assert not {"thickness", "kernel", "manufacturer"} & set(attributes(tmp_path / "out"))
    assert Slices(tmp_path / "out").techniques[0].air is not None


def test_a_scan_without_air_around_the_body_has_no_level_of_air(files, tmp_path):
    hu = files.chest(20)
    outside = np.ones(hu.shape, bool)
    outside[:, 8:56, 2:62] = False
    hu[outside] = -1024  # padding, as outside a round field of view
    files.nifti(tmp_path / "in" / "ct.nii.gz", hu)
    prepare(tmp_path / "in", tmp_path / "out", salt=SALT)
    assert Slices(tmp_path / "out").techniques[0] == UNKNOWN


def test_names_are_short_and_without_special_characters():
    assert name(" B30f ") == "B30f"
    assert name('<b>|"\n\u202e') == "?b?????"
    long = name("x" * 100)
    assert len(long) == LONGEST
    assert long.endswith("…")


@pytest.mark.parametrize("with_technique", [True, False])
def test_a_corrupt_part_of_an_earlier_version_is_restored_with_its_bytes(files, tmp_path, monkeypatch, with_technique):
    """Earlier versions stored neither checksums nor grid; versions before them did not store the technique either."""
    files.series(tmp_path / "in", files.chest(), ConvolutionKernel="B70f")
    now, write = convert.scan_slices, convert.write_scan
    with monkeypatch.context() as patch:
        patch.setattr(
            convert, "write_scan", lambda out, one, key: write(out, replace(one, grid=GRID), key=key, checksums=False)
        )
        if not with_technique:
            patch.setattr(convert, "scan_slices", lambda *a, **k: replace(now(*a, **k), technique=UNKNOWN))
        prepare(tmp_path / "in", tmp_path / "out", salt=SALT)
    earlier = Slices(tmp_path / "out").key
    (path,) = (tmp_path / "out").glob("*.h5")
    path.write_bytes(path.read_bytes()[:-100])
    report = prepare(tmp_path / "in", tmp_path / "out", salt=SALT)
    assert not report.prepared[0].kept
    assert Slices(tmp_path / "out").key == earlier


def test_a_corrupt_part_of_this_version_is_restored_with_its_bytes(files, tmp_path):
    files.series(tmp_path / "in", files.chest(), ConvolutionKernel="B70f")
    prepare(tmp_path / "in", tmp_path / "out", salt=SALT)
    before = Slices(tmp_path / "out").key
    (path,) = (tmp_path / "out").glob("*.h5")
    path.unlink()
    prepare(tmp_path / "in", tmp_path / "out", salt=SALT)
    assert Slices(tmp_path / "out").key == before
    assert Slices(tmp_path / "out").techniques[0].kernel == "B70f"


def test_a_technique_of_another_type_is_refused(files, tmp_path):
    files.series(tmp_path / "in", files.chest(), ConvolutionKernel="B70f")
    prepare(tmp_path / "in", tmp_path / "out", salt=SALT)
    (path,) = (tmp_path / "out").glob("*.h5")
    with h5py.File(path, "r+") as part:
        part.attrs["kernel"] = 3
    with pytest.raises(InputError, match="attribute 'kernel' must be of dtype kind S"):
        Slices(tmp_path / "out")
