"""Segmentations of 3D Slicer: names decide, cropped grids are placed exactly, layers are read."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.scans.geometry import Geometry
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes
from ildfv.scans.slicer import read_slicer, slicer_header
from ildfv.scans.volumefiles import file_geometry

NAMED = Codes({0: OUTSIDE}, segments={"ggo": "ground glass", "aerated": "healthy"}, name="mine")


def segments(*described):
    """Header fields of segments: (name, value, layer)."""
    fields = {}
    for i, (name, value, layer) in enumerate(described):
        fields |= {
            f"Segment{i}_ID": f"Segment_{i + 1}",
            f"Segment{i}_Name": name,
            f"Segment{i}_LabelValue": str(value),
            f"Segment{i}_Layer": str(layer),
        }
    return fields


@pytest.fixture
def scan(tmp_path, files):
    """The grid of a scan, and its phantom codes."""
    hu = files.chest()
    path = files.nrrd(tmp_path / "ct.nrrd", hu)
    return file_geometry(path, "nrrd"), files.codes(hu)


def expected(codes, meanings):
    table = np.full(6, MEANINGS.index(OUTSIDE), np.uint8)
    for code, meaning in meanings.items():
        table[code] = MEANINGS.index(meaning)
    return table[codes]


def test_names_and_not_numbers_decide_the_meaning(tmp_path, files, scan):
    grid, codes = scan
    numbers = np.select([codes == 1, codes == 2], [7, 1]).astype(np.uint8)  # numbered by the order of drawing
    path = files.nrrd(tmp_path / "a.seg.nrrd", numbers, **segments(("GGO", 1, 0), ("Aerated", 7, 0)))
    found = read_slicer(path, grid, NAMED)
    np.testing.assert_array_equal(found, expected(codes, {1: "healthy", 2: "ground glass"}))


def test_a_name_that_contradicts_the_codes_is_refused(tmp_path, files, scan):
    grid, codes = scan
    path = files.nrrd(tmp_path / "a.seg.nrrd", (codes == 2).astype(np.uint8), **segments(("ground glass", 1, 0)))
    with pytest.raises(InputError, match="'ground glass' must mean healthy like code 1 of phantom, got ground glass"):
        read_slicer(path, grid, Codes.load("phantom"))


@pytest.mark.parametrize("name", ["Segment_1", "tumour"])
def test_a_name_without_a_meaning_is_refused(tmp_path, files, scan, name):
    grid, codes = scan
    path = files.nrrd(tmp_path / "a.seg.nrrd", (codes == 1).astype(np.uint8), **segments((name, 1, 0)))
    with pytest.raises(InputError, match=rf"listed in \[segments\] of mine, got '{name}'"):
        read_slicer(path, grid, NAMED)


def test_a_value_without_a_segment_is_refused(tmp_path, files, scan):
    grid, codes = scan
    path = files.nrrd(tmp_path / "a.seg.nrrd", codes, **segments(("ggo", 2, 0)))
    with pytest.raises(InputError, match=r"values must belong to segments in the header, got \[1, 5\]"):
        read_slicer(path, grid, NAMED)


@pytest.mark.parametrize("crop", [np.s_[1:5, 16:50, 33:60], np.s_[0:1, 0:64, 35:64], np.s_[5:6, 15:30, 40:41]])
def test_a_cropped_grid_is_placed_exactly(tmp_path, files, scan, crop):
    grid, codes = scan
    starts = [one.start for one in crop]
    origin = np.array(files.origin) + np.array(starts[::-1]) * files.spacing[::-1]
    part = (codes[crop] == 2).astype(np.uint8)
    fields = segments(("ggo", 1, 0)) | {"space origin": origin}
    path = files.nrrd(tmp_path / "a.seg.nrrd", part, **fields)
    wanted = np.full(grid.shape, MEANINGS.index(OUTSIDE), np.uint8)
    wanted[crop][part == 1] = MEANINGS.index("ground glass")
    np.testing.assert_array_equal(read_slicer(path, grid, NAMED), wanted)


@pytest.mark.parametrize("shift", [(2.0, 0, 0), (0, 0, 2.5), (-4.0, 0, 0)])
def test_a_grid_off_the_lattice_or_outside_is_refused(tmp_path, files, scan, shift):
    grid, codes = scan
    fields = segments(("ggo", 2, 0)) | {"space origin": np.array(files.origin) + shift}
    path = files.nrrd(tmp_path / "a.seg.nrrd", codes, **fields)
    with pytest.raises(InputError, match="must have the scan's grid"):
        read_slicer(path, grid, NAMED)


def layered(files, path, layers, **fields):
    """Writes a 4-D segmentation; layers: (layers, z, y, x)."""
    import nrrd

    header = {
        "space": "left-posterior-superior",
        "space directions": np.vstack([np.full(3, np.nan), np.diag(files.spacing[::-1])]),
        "space origin": np.array(files.origin),
        "kinds": ["list", "domain", "domain", "domain"],
        "encoding": "gzip",
    }
    nrrd.write(str(path), np.ascontiguousarray(layers.transpose(0, 3, 2, 1)), header | fields)
    return path


def test_layers_are_read(tmp_path, files, scan):
    grid, codes = scan
    layers = np.stack([(codes == 1).astype(np.uint8), (codes == 2) * np.uint8(1)])
    described = segments(("aerated", 1, 0), ("GGO", 1, 1))
    path = layered(files, tmp_path / "a.seg.nrrd", layers, **described)
    assert slicer_header(path)[0].shape == grid.shape
    np.testing.assert_array_equal(read_slicer(path, grid, NAMED), expected(codes, {1: "healthy", 2: "ground glass"}))


def test_overlapping_layers_need_a_priority(tmp_path, files, scan):
    grid, codes = scan
    layers = np.stack([(codes > 0).astype(np.uint8), (codes == 2) * np.uint8(1)])
    path = layered(files, tmp_path / "a.seg.nrrd", layers, **segments(("aerated", 1, 0), ("GGO", 1, 1)))
    with pytest.raises(InputError, match="segment 'aerated' and segment 'GGO' must not contradict each other"):
        read_slicer(path, grid, NAMED)
    first = Codes(NAMED.meanings, segments=NAMED.segments, priority=("ground glass",))
    wanted = expected(codes, {1: "healthy", 2: "ground glass", 5: "healthy"})
    np.testing.assert_array_equal(read_slicer(path, grid, first), wanted)


def test_old_files_have_a_layer_for_each_segment(tmp_path, files, scan):
    grid, codes = scan
    layers = np.stack([(codes == 1).astype(np.uint8), (codes == 2) * np.uint8(1)])
    path = layered(files, tmp_path / "a.seg.nrrd", layers, Segment0_Name="aerated", Segment1_Name="GGO")
    np.testing.assert_array_equal(read_slicer(path, grid, NAMED), expected(codes, {1: "healthy", 2: "ground glass"}))


@pytest.mark.parametrize("described", [[("a", 1, 3)], [("a", "x", 0)], [("a", 1, 0), ("b", 1, 0)]])
def test_an_inconsistent_header_is_refused(tmp_path, files, scan, described):
    path = files.nrrd(tmp_path / "a.seg.nrrd", scan[1], **segments(*described))
    with pytest.raises(InputError, match="segment"):
        slicer_header(path)


def test_a_file_without_segments_is_not_read_as_a_slicer_segmentation(tmp_path, files, scan):
    grid, segments_ = slicer_header(files.nrrd(tmp_path / "a.seg.nrrd", scan[1]))
    assert isinstance(grid, Geometry)
    assert segments_ == ()
