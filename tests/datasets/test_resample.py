"""`prepare --resample`: tilted and unevenly spaced scans become even axial ones, and their label maps with them.

The phantom is a function of the position in the patient. Read from any grid and resampled, it must be that function at
the positions of the axial grid.
"""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preparing import prepare

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.datasets.read_labels import read_labels
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.slice_store import Slices
from ildfv.scans.geometry import MAX_GAP, Geometry
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes
from ildfv.scans.resample import METHOD, resampled
from ildfv.scans.volume import PADDING, Volume

SALT = "0123456789abcdef"
SIZE, PIXEL = 64, 4.0  # pixels per side of a slice, and their size in mm
CODES = Codes.load("phantom")
MEAN, LARGEST = 4, 50  # allowed deviation of resampled tissue in HU: on average, and at most (at edges)


def tissue(points: np.ndarray) -> np.ndarray:
    """HU at positions (…, 3) in mm: a body with two lungs, whose density varies along all axes, with edges of 12 mm."""
    x, y, z = np.moveaxis(points, -1, 0)

    def inside(cx, cy, rx, ry):
        return 1 / (1 + np.exp((np.hypot((x - cx) / rx, (y - cy) / ry) - 1) * min(rx, ry) / 3))

    body, lungs = inside(0, 0, 110, 75), inside(-48, 0, 36, 50) + inside(48, -4, 36, 50)
    lung = -850 + 60 * np.sin(z / 25) + 30 * np.sin(x / 30) + 30 * np.sin(y / 30)
    return -1000 + body * 1040 + lungs * (lung - 40)


def codes_at(points: np.ndarray) -> np.ndarray:
    """Phantom codes at positions: emphysema in the left lung above z = 5, ground glass in the right lung."""
    x, y, z = np.moveaxis(points, -1, 0)
    right = np.hypot((x + 48) / 30, y / 40) < 1
    left = np.hypot((x - 48) / 30, (y + 4) / 40) < 1
    return np.where(left, np.where(z > 5, 5, 1), np.where(right, 2, 0)).astype(np.uint8)


def grid(origin, steps, shape) -> np.ndarray:
    """Positions (*shape, 3) of a grid."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return np.asarray(origin) + index @ np.asarray(steps)


def tilted_steps(degrees: float, spacing: float, *, sheared: bool) -> np.ndarray:
    """Steps of slices, rows and columns: a tilted gantry with a table along z, or a rotated volume."""
    a = np.radians(degrees)
    along = [0, 0, spacing] if sheared else [0, -np.sin(a) * spacing, np.cos(a) * spacing]
    return np.array([along, [0, np.cos(a) * PIXEL, np.sin(a) * PIXEL], [PIXEL, 0, 0]])


def centred(steps, m) -> np.ndarray:
    return -np.array([(m - 1) / 2, (SIZE - 1) / 2, (SIZE - 1) / 2]) @ steps


def tilted_series(files, folder: Path, degrees: float, *, m=36, spacing=5.0, sheared=True) -> np.ndarray:
    """Writes the phantom as a DICOM series of a tilted gantry and returns the positions of its voxels."""
    steps = tilted_steps(degrees, spacing, sheared=sheared)
    points = grid(centred(steps, m), steps, (m, SIZE, SIZE))
    cosines = [1, 0, 0, *(f"{value:.6f}" for value in steps[1] / PIXEL)]

    def change(z, dataset):
        dataset.ImagePositionPatient = [f"{value:.3f}" for value in points[z, 0, 0]]
        dataset.ImageOrientationPatient = cosines
        return dataset

    files.series(folder, np.round(tissue(points)).astype(np.int16), change=change)
    return points


def read(folder: Path):
    """Resamples the only scan of a folder: its volume, labels or None, positions of voxels, and description."""
    (scan,) = discover(folder, ScanSettings(codes=CODES, resample=True)).scans
    source = read_volume(scan)
    volume, follow, how = resampled(source)
    labels = follow(read_labels(scan, source.geometry, CODES), MEANINGS.index(OUTSIDE)) if scan.labels else None
    points = grid(volume.geometry.origin, volume.geometry.steps, volume.hu.shape)
    return volume, labels, points, how


def check_hu(volume, points):
    """The phantom's HU at every voxel that the scan covers."""
    covered = volume.hu != PADDING
    deviation = np.abs(volume.hu - tissue(points))[covered]
    assert deviation.mean() < MEAN
    assert deviation.max() < LARGEST
    np.testing.assert_allclose(volume.geometry.direction, np.eye(3)[::-1])


def check_labels(labels, points, half_step: float):
    """Each label is that of a position at most half a voxel away."""
    codes = np.array([MEANINGS.index(CODES.meanings[code]) for code in (0, 1, 2, 3, 4, 5)])
    wrong = labels != codes[codes_at(points)]
    offsets = grid((-half_step, -PIXEL / 2, -PIXEL / 2), np.diag([half_step, PIXEL / 2, PIXEL / 2]), (3, 3, 3))
    near = np.any([codes[codes_at(points + offset[::-1])] == labels for offset in offsets.reshape(-1, 3)], axis=0)
    assert near[wrong].mean() > 0.98 if wrong.any() else True
    assert wrong.mean() < 0.03


@settings(max_examples=12, deadline=None, derandomize=True)
@given(degrees=st.floats(6, 30), sign=st.sampled_from([-1, 1]), sheared=st.booleans())
def test_a_resampled_tilted_scan_equals_the_untilted_one(degrees, sign, sheared):
    steps = tilted_steps(sign * degrees, 5.0, sheared=sheared)
    scan = Geometry((44, SIZE, SIZE), centred(steps, 44), steps)
    hu = np.round(tissue(grid(scan.origin, steps, scan.shape))).astype(np.int16)
    volume, _, how = resampled(Volume(hu, scan, "", "", Path()))
    check_hu(volume, grid(volume.geometry.origin, volume.geometry.steps, volume.hu.shape))
    assert len(volume.hu) > 3
    assert f"a tilt of {degrees:.1f}°" in how
    assert METHOD in how


@settings(max_examples=12, deadline=None, derandomize=True)
@given(gaps=st.lists(st.floats(0.5, 6), min_size=12, max_size=12))
def test_a_resampled_unevenly_spaced_scan_is_evenly_spaced(gaps):
    places = np.cumsum([0, *gaps]) - sum(gaps) / 2
    step = (places[-1] - places[0]) / 12
    steps = tilted_steps(0, step, sheared=True)
    origin = np.array([*centred(steps, 13)[:2], places[0]])
    scan = Geometry((13, SIZE, SIZE), origin, steps, (places - places[0]) / step)
    points = grid(origin, steps, (1, SIZE, SIZE)) + (places - places[0])[:, None, None, None] * [0, 0, 1]
    volume, _, how = resampled(Volume(np.round(tissue(points)).astype(np.int16), scan, "", "", Path()))
    check_hu(volume, grid(volume.geometry.origin, volume.geometry.steps, volume.hu.shape))
    assert np.diff(volume.positions) == pytest.approx(sorted(gaps)[5], abs=1e-3)
    assert f"gaps of {min(gaps):.3g}" in how


@pytest.mark.parametrize("sheared", [True, False])
def test_a_tilted_series_is_read_and_resampled(tmp_path, files, sheared):
    tilted_series(files, tmp_path / "ct", -14, sheared=sheared)
    volume, _, points, how = read(tmp_path)
    check_hu(volume, points)
    assert "a tilt of 14.0°" in how


def test_slices_that_show_a_part_of_the_body_are_left_out(tmp_path, files):
    tilted_series(files, tmp_path / "ct", 20)
    volume, _, points, how = read(tmp_path)
    edge = (volume.hu == PADDING).any(axis=(1, 2))
    assert edge.any()  # slices are kept if only air is missing
    assert (tissue(points)[volume.hu == PADDING] < -300).all()
    assert "omitted slices that the scan covers only partially: " in how


def test_a_scan_without_a_whole_axial_slice_is_refused(tmp_path, files, inline):
    tilted_series(files, tmp_path / "scans", 30, m=8)
    (unused,) = prepare(tmp_path / "scans", tmp_path / "out", salt=SALT, resample=True).quarantined
    assert "must contain whole axial slices, got none" in unused.reason


@pytest.mark.parametrize("sheared", [True, False])
def test_a_volume_file_as_label_map_is_resampled_with_its_tilted_scan(tmp_path, files, sheared):
    points = tilted_series(files, tmp_path / "p1/ct", 17, sheared=sheared)
    steps = tilted_steps(17, 5.0, sheared=sheared)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (steps[::-1] * [-1, -1, 1]).T, points[0, 0, 0] * [-1, -1, 1]
    labels = codes_at(points).transpose(2, 1, 0)
    image = nibabel.Nifti1Image(labels, None)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    nibabel.save(image, tmp_path / "p1/ct_label.nii.gz")
    volume, labels, points, _ = read(tmp_path)
    check_hu(volume, points)
    check_labels(labels, points, 2.5)


def uneven_series(files, folder: Path, places: np.ndarray, **tags) -> np.ndarray:
    steps = tilted_steps(0, 1.0, sheared=True)
    points = grid(centred(steps, 1), steps, (1, SIZE, SIZE)) + np.array(places)[:, None, None, None] * [0, 0, 1.0]

    def change(z, dataset):
        dataset.ImagePositionPatient = [f"{value:.3f}" for value in points[z, 0, 0]]
        return dataset

    files.series(folder, np.round(tissue(points)).astype(np.int16), change=change, **tags)
    return points


MIXED = np.concatenate([np.arange(-30, 0, 2.5), np.arange(0, 40, 5.0)])


def test_mixed_gaps_become_even(tmp_path, files):
    uneven_series(files, tmp_path / "ct", MIXED)
    volume, _, points, how = read(tmp_path)
    check_hu(volume, points)
    assert np.diff(volume.positions) == pytest.approx(2.5, abs=1e-3)
    assert (volume.positions[0], volume.positions[-1]) == pytest.approx((-30, 35), abs=1e-3)
    assert "gaps of 2.5 … 5 mm" in how


def test_slices_that_lie_on_the_even_grid_keep_their_values(tmp_path, files):
    points = uneven_series(files, tmp_path / "ct", MIXED)
    volume, _, _, _ = read(tmp_path)
    for z, place in enumerate(MIXED):
        at = int(np.abs(volume.positions - place).argmin())
        np.testing.assert_array_equal(volume.hu[at], np.round(tissue(points[z])).astype(np.int16))


def test_a_dicom_seg_is_resampled_with_its_scan(tmp_path, files):
    for name, write in (("tilted", tilted_series), ("uneven", uneven_series)):
        points = write(files, tmp_path / name / "ct", 12 if name == "tilted" else MIXED)
        names = {1: "healthy", 2: "ground glass", 5: "emphysema"}
        files.seg(tmp_path / name / "seg.dcm", tmp_path / name / "ct", codes_at(points), names)
        volume, labels, points, _ = read(tmp_path / name)
        check_hu(volume, points)
        check_labels(labels, points, 2.5)


def test_a_volume_file_as_label_map_of_an_uneven_scan_is_refused(tmp_path, files):
    points = uneven_series(files, tmp_path / "p1/ct", MIXED)
    affine = np.diag([-PIXEL, -PIXEL, 65 / 19, 1.0])
    affine[:3, 3] = points[0, 0, 0] * [-1, -1, 1]
    files.nifti(tmp_path / "p1/ct_label.nii.gz", codes_at(points), affine=affine)
    found = discover(tmp_path, ScanSettings(codes=CODES, resample=True))
    assert not found.scans
    assert "must be a DICOM SEG" in found.quarantined[0].reason


@pytest.mark.parametrize("kind", ["tilted", "uneven", "file"])
def test_without_the_option_the_refusal_names_it(tmp_path, files, kind):
    if kind == "tilted":
        tilted_series(files, tmp_path / "ct", 12)
    elif kind == "uneven":
        uneven_series(files, tmp_path / "ct", MIXED)
    else:
        affine = nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(x=0.3) @ files.affine()[:3, :3])
        files.nifti(tmp_path / "ct.nii.gz", files.chest(), affine=affine)
    found = discover(tmp_path)
    assert not found.scans
    reason = found.quarantined[0].reason
    assert "series of the same study (`ildfv prepare --resample` accepts " in reason  # `predict` does not resample
    assert ", `predict` does not)" in reason


@pytest.mark.parametrize("kind", ["tilted", "uneven"])
def test_scans_that_the_option_cannot_resample_are_refused_without_naming_it(tmp_path, files, kind):
    if kind == "tilted":
        tilted_series(files, tmp_path / "ct", 33)
    else:
        uneven_series(files, tmp_path / "ct", np.array([0, 5, 10, 15, 15 + MAX_GAP + 5, 35]))
    (unused,) = discover(tmp_path).quarantined
    assert "--resample" not in unused.reason
    assert "series of the same study" in unused.reason
    assert discover(tmp_path, ScanSettings(resample=True)).quarantined


def test_an_even_scan_has_the_same_bytes_with_and_without_the_option(tmp_path, files, inline):
    files.series(tmp_path / "scans/p1", files.chest(), patient="A")
    files.nifti(tmp_path / "scans/p2/ct.nii.gz", files.chest(seed=1))
    files.nifti(tmp_path / "scans/p2/ct_label.nii.gz", files.codes(files.chest(seed=1)))
    for name, option in (("with", True), ("without", False)):
        prepare(tmp_path / "scans", tmp_path / name, codes="phantom", salt=SALT, resample=option)
    names = sorted(path.relative_to(tmp_path / "with") for path in (tmp_path / "with").rglob("*.h5"))
    assert len(names) == 2
    for name in names:
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def test_report_and_part_record_how_a_scan_was_resampled(tmp_path, files, inline):
    tilted_series(files, tmp_path / "scans", 10, spacing=4)
    report = prepare(tmp_path / "scans", tmp_path / "out", salt=SALT, resample=True)
    (scan,) = report.prepared
    assert scan.resampled in scan.notes
    assert scan.resampled.startswith("resampled because of a tilt of 10.0°: slices 4 mm apart")
    slices = Slices(tmp_path / "out")
    with slices.parts.open(scan.series) as part:
        assert part.attrs["resampled"].decode() == scan.resampled
    again = prepare(tmp_path / "scans", tmp_path / "out", salt=SALT, resample=True)
    assert [one.kept for one in again.prepared] == [True]
    assert again.prepared[0].resampled == scan.resampled
    assert report.to_dict()["prepared"][0]["resampled"] == scan.resampled
