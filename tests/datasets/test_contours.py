"""Contours of an RT Structure Set become label maps: a voxel belongs to a contour if its centre is inside."""

import sys

import numpy as np
import pytest
from preparing import prepare

from ildfv.datasets.discovery import discover
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.scans.contours import read_contours
from ildfv.scans.dicom import assemble
from ildfv.scans.labels import MEANINGS, Codes
from ildfv.scans.read_header import read_header

pytest.importorskip("skimage")
CODES = Codes({0: "outside"}, segments={"ggo": "ground glass", "normal lung": "healthy"}, name="t")
SALT = "0123456789abcdef"


@pytest.fixture
def scan(tmp_path, files):
    """The grid of a series, which is written to tmp_path/ct."""
    paths = files.series(tmp_path / "ct", files.chest(3))
    return assemble([read_header(path) for path in paths]).geometry


def read(tmp_path, files, scan, structures, **options):
    return read_contours(files.contours(tmp_path / "rs.dcm", tmp_path / "ct", structures, **options), scan, CODES)


def where(meanings, name):
    return meanings == MEANINGS.index(name)


def test_voxels_with_their_centre_inside_are_labelled(tmp_path, files, scan):
    found = read(tmp_path, files, scan, {"GGO": [files.box(1, (10, 20), (5, 9))]})
    expected = np.zeros(scan.shape, bool)
    expected[1, 10:20, 5:9] = True
    np.testing.assert_array_equal(where(found, "ground glass"), expected)


@pytest.mark.parametrize("shift", [-0.45, 0.0, 0.45])
def test_coordinates_are_not_rounded_to_voxels(tmp_path, files, scan, shift):
    found = read(tmp_path, files, scan, {"GGO": [files.box(1, (10, 20), (5, 9), shift)]})
    assert where(found, "ground glass").sum() == 40


def test_a_contour_traced_through_centres_of_voxels_contains_them(tmp_path, files, scan):
    found = read(tmp_path, files, scan, {"GGO": [files.box(1, (10, 20), (5, 9), 0.5)]})
    assert where(found, "ground glass").sum() == 40


def test_a_circle_has_its_area(tmp_path, files, scan):
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    centre = files.origin + np.array([30 * 4, 30 * 4, 5])
    circle = centre + 60 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    found = read(tmp_path, files, scan, {"GGO": [circle]})
    assert where(found, "ground glass").sum() * 16 == pytest.approx(np.pi * 60**2, rel=0.01)


def test_a_contour_inside_another_one_is_a_hole_in_any_order(tmp_path, files, scan):
    rings = [files.box(1, (10, 30), (10, 30)), files.box(1, (15, 25), (15, 25)), files.box(1, (18, 20), (18, 20))]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        found = read(tmp_path, files, scan, {"GGO": [rings[i] for i in order]})
        assert where(found, "ground glass").sum() == 400 - 100 + 4


def test_all_contours_of_all_slices_are_read(tmp_path, files, scan):
    boxes = [files.box(z, (10, 20), (c, c + 5)) for z in (0, 2) for c in (5, 40)]
    found = read(tmp_path, files, scan, {"GGO": boxes, "normal lung": [files.box(1, (0, 64), (0, 64))]})
    assert where(found, "ground glass").sum(axis=(1, 2)).tolist() == [100, 0, 100]
    assert where(found, "healthy").sum() == 64 * 64


def test_equal_contours_count_once(tmp_path, files, scan):
    found = read(tmp_path, files, scan, {"GGO": [files.box(1, (10, 20), (5, 9))] * 2})
    assert where(found, "ground glass").sum() == 40


def test_a_contour_beyond_the_slice_is_cut_at_its_border(tmp_path, files, scan):
    found = read(tmp_path, files, scan, {"GGO": [files.box(1, (-9, 3), (60, 99))]})
    assert where(found, "ground glass").sum() == 3 * 4


@pytest.mark.parametrize(
    ("contours", "options", "message"),
    [
        ([(1.5, (10, 20), (5, 9))], {}, "must be on slices of the scan"),
        ([(7, (10, 20), (5, 9))], {}, "must be on slices of the scan"),
        ([(1, (10, 20), (5, 9)), (1, (10, 20), (7, 11))], {}, "overlap partially"),
        ([(1, (10, 20), (5, 9))], {"kind": "OPEN_PLANAR"}, "must be CLOSED_PLANAR"),
    ],
)
def test_ambiguous_contours_are_refused(tmp_path, files, scan, contours, options, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, files, scan, {"GGO": [files.box(*one) for one in contours]}, **options)


def test_structures_of_different_meaning_need_a_priority(tmp_path, files, scan):
    both = {"GGO": [files.box(1, (10, 20), (5, 9))], "normal lung": [files.box(1, (10, 20), (5, 20))]}
    with pytest.raises(InputError, match="set their priority"):
        read(tmp_path, files, scan, both)


@pytest.mark.parametrize("reference", [True, False])
def test_prepare_reads_the_named_structures_and_names_the_others(tmp_path, files, inline, reference):
    files.series(tmp_path / "s/ct", files.chest(2), patient="A")
    structures = {"GGO": [files.box(0, (20, 30), (12, 20))], "Heart": [files.box(0, (30, 40), (20, 40))]}
    files.contours(tmp_path / "s/rs.dcm", tmp_path / "s/ct", structures, reference=reference)
    (tmp_path / "t.toml").write_text('[segments]\nGGO = "ground glass"\n')
    report = prepare(tmp_path / "s", tmp_path / "out", codes=tmp_path / "t.toml", salt=SALT)
    assert [scan.labelled_slices for scan in report.prepared] == [1]
    assert Slices(tmp_path / "out").counts[0].tolist() == [80, 0, 0, 0]
    assert [one.reason.rpartition(": ")[2] for one in report.ignored] == ["Heart"]


def test_a_structure_set_without_a_named_structure_does_not_exclude_its_scan(tmp_path, files):
    files.series(tmp_path / "ct", files.chest(2))
    files.contours(tmp_path / "rs.dcm", tmp_path / "ct", {"PTV": [files.box(0, (20, 30), (12, 20))]})
    found = discover(tmp_path, ScanSettings(codes=CODES))
    assert len(found.scans) == 1
    assert "must name one of its structures, got PTV" in found.quarantined[0].reason


def test_without_the_package_the_scan_is_refused_with_the_extra(tmp_path, files, inline, monkeypatch):
    files.series(tmp_path / "s/ct", files.chest(2))
    files.contours(tmp_path / "s/rs.dcm", tmp_path / "s/ct", {"emphysema": [files.box(0, (20, 30), (12, 20))]})
    monkeypatch.setitem(sys.modules, "skimage", None)
    report = prepare(tmp_path / "s", tmp_path / "out", codes="phantom", salt=SALT)
    assert "ildfv[contours]" in report.quarantined[0].reason
    assert not report.prepared
