"""Coronal and sagittal sections: geometry, averaging within a memory limit, damaged files."""

import shutil
import threading
import time

import numpy as np
import pytest
from viewer_support import SLICES, client

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.viewer.sections import Volume, averaged

pytest.importorskip("httpx")  # which Starlette's test client needs


def ready(one, scan: int = 0) -> dict:
    """The document of the sections, after all slices are in memory."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        document = one.get(f"api/scan/{scan}/sections").json()
        if document.get("read") == SLICES or "error" in document:
            return document
        time.sleep(0.01)
    raise AssertionError(document)


def test_sections_are_the_planes_of_the_volume_with_the_head_first(scan):
    hu = read_volume(discover(scan, labels=False, workers=1).scans[0]).hu
    with client(scan) as one:
        document = one.get("api/scan/0").json()
        assert ready(one) == {"step": 1, "rows": document["rows"], "columns": document["columns"], "read": SLICES}
        assert document["distance"] == pytest.approx(np.diff(document["positions"]).mean())
        coronal = np.frombuffer(one.get("api/scan/0/coronal/20").content, "<i2").reshape(SLICES, -1)
        sagittal = np.frombuffer(one.get("api/scan/0/sagittal/40").content, "<i2").reshape(SLICES, -1)
        np.testing.assert_array_equal(coronal, hu[::-1, 20])
        np.testing.assert_array_equal(sagittal, hu[::-1, :, 40])
        assert one.get(f"api/scan/0/coronal/{document['rows']}").status_code == 404


def test_slices_are_averaged_to_the_smallest_step_within_the_limit():
    hu = np.arange(4 * 10 * 12, dtype=np.int16).reshape(4, 10, 12)
    volume = Volume(lambda z: hu[z], hu.shape, limit=2 * 4 * 5 * 6)
    volume.wait()
    assert volume.describe() == {"step": 2, "rows": 5, "columns": 6, "read": 4}
    expected = np.rint(hu[::-1, 2:4].reshape(4, 2, 6, 2).mean(axis=(1, 3)))
    np.testing.assert_array_equal(volume.coronal(1), expected)


def test_a_limit_below_one_pixel_per_slice_gives_one_pixel_per_slice():
    assert Volume(lambda z: np.zeros((4, 4), np.int16), (2, 4, 4), limit=1).step == 4


def test_pixels_at_the_edge_are_repeated_when_averaged():
    found = averaged(np.array([[0, 2, 10], [4, 6, 20], [8, 8, 30]], np.int16), 2)
    np.testing.assert_array_equal(found, [[3, 15], [8, 30]])


def test_a_section_before_all_slices_are_read_is_refused():
    release = threading.Event()

    def read(z):
        release.wait(30)
        return np.zeros((4, 4), np.int16)

    volume = Volume(read, (2, 4, 4))
    with pytest.raises(InputError, match="0 of 2 slices are in memory: try again"):
        volume.coronal(0)
    release.set()
    volume.wait()
    assert volume.coronal(0).shape == (2, 4)


def test_a_slice_that_is_gone_is_one_line(scan, tmp_path):
    copy = shutil.copytree(scan / "ct", tmp_path / "ct")
    with client(copy) as one:
        next(iter(copy.glob("*.dcm"))).unlink()
        document = ready(one)
        assert "it was removed or renamed" in document["error"]
        assert str(tmp_path) not in document["error"]
        answer = one.get("api/scan/0/coronal/0")
        assert (answer.status_code, answer.json()) == (422, document)


def test_a_prediction_without_its_scan_has_no_sections(prediction):
    with client(prediction) as one:
        assert one.get("api/scan/0/sections").json() == {
            "error": "the scan of this prediction was not given: run `ildfv view PREDICTION SCAN`"
        }


def test_sections_of_another_scan_replace_those_of_the_first(workspace):
    with client(workspace) as one:
        planes = []
        for scan in (0, 1, 0):
            assert ready(one, scan)["read"] == SLICES
            planes.append(one.get(f"api/scan/{scan}/coronal/112").content)
        assert planes[0] == planes[2] != planes[1]
