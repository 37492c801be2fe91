"""The slice store reads any slices of any parts, in the requested order."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from ildfv.datasets.slice_store import ScanSlices, Slices, write_scan
from ildfv.errors import InputError
from ildfv.store.parts import MANIFEST, Parts, write_part, writing_parts


def scan(number: int, m: int) -> ScanSlices:
    random = np.random.default_rng(number)
    return ScanSlices(
        images=random.integers(0, 256, (m, 3, 224, 224), dtype=np.uint8),
        labels=random.integers(0, 5, (m, 224, 224), dtype=np.uint8),
        counts=random.integers(0, 9000, (m, 4)) if number != 1 else np.full((m, 4), -1),
        lung=np.full(m, 60000),
        positions=np.arange(m, dtype=np.float32),
        patient=f"patient{number // 2}",
        series=f"series{number}",
        labelled=number != 1,
        pixel_area=0.5,
    )


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slices")
    with writing_parts(folder, "key") as parts:
        for number in (2, 0, 1):
            parts.add(write_scan(folder, scan(number, 3 + number)))
    return Slices(folder)


def scans(slices: Slices) -> list[ScanSlices]:
    """The scans in the order of the store."""
    return [scan(number, 3 + number) for number in (int(name.removeprefix("series")) for name in slices.names)]


def test_slices_are_ordered_by_scan_and_position(slices):
    assert len(slices) == 12
    assert sorted(slices.names) == ["series0", "series1", "series2"]
    expected = scans(slices)
    assert slices.series.tolist() == [one.series for one in expected for _ in one.lung]
    assert slices.patients.tolist() == [one.patient for one in expected for _ in one.lung]
    assert slices.labelled.tolist() == [one.labelled for one in expected for _ in one.lung]
    np.testing.assert_array_equal(slices.counts, np.concatenate([one.counts for one in expected]))
    np.testing.assert_array_equal(slices.positions, np.concatenate([one.positions for one in expected]))


def test_the_order_of_the_scans_does_not_depend_on_their_names_or_labels(tmp_path):
    """The names depend on the salt of the workspace."""

    def content(folder, names):
        folder.mkdir()
        with writing_parts(folder, "key") as parts:
            for number, name in enumerate(names):
                one = replace(scan(number, 3), series=name, patient=f"patient of {name}")
                parts.add(write_scan(folder, replace(one, counts=np.full((3, 4), ord(name)))))
        return Slices(folder).images(range(18))

    one, other = content(tmp_path / "one", "abcdef"), content(tmp_path / "other", "fdbeca")
    np.testing.assert_array_equal(one, other)


def test_a_folder_of_an_earlier_version_keeps_its_order(tmp_path):
    with writing_parts(tmp_path, "key") as parts:
        for number in range(3):
            parts.add(replace(write_scan(tmp_path, scan(number, 3)), order=""))
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["format"] == 1
    assert all("order" not in row for row in manifest["parts"])
    with writing_parts(tmp_path, "key") as parts:
        parts.add(write_scan(tmp_path, scan(3, 3)))
    assert json.loads((tmp_path / MANIFEST).read_text())["format"] == 2
    assert Slices(tmp_path).names == ["series0", "series1", "series2", "series3"]


def test_images_come_in_the_requested_order(slices):
    images = np.concatenate([one.images for one in scans(slices)])
    labels = np.concatenate([one.labels for one in scans(slices)])
    for indices in ([0], [11, 0, 4, 4, 3], range(12), []):
        np.testing.assert_array_equal(slices.images(indices), images[list(indices)])
        np.testing.assert_array_equal(slices.label_maps(indices), labels[list(indices)])


def test_indices_beyond_the_set_are_refused(slices):
    with pytest.raises(InputError, match=r"must be in \[0, 12\)"):
        slices.images([12])


@pytest.mark.parametrize("indices", [[1.0], [True], ["3"], [[1, 2]], 3])
def test_indices_must_be_a_list_of_integers(slices, indices):
    with pytest.raises(InputError, match="slice indices must be a list of integers"):
        slices.images(indices)


def test_a_scan_of_the_wrong_shape_is_refused():
    good = scan(0, 3)
    with pytest.raises(InputError, match=r"counts must have shape \(3, 4\), got \(3, 5\)"):
        ScanSlices(**{**good.__dict__, "counts": np.zeros((3, 5))})


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="has no finished parts"):
        Slices(tmp_path)


def test_several_threads_read_at_once(slices, monkeypatch):
    monkeypatch.setattr("ildfv.datasets.slice_store.OPEN_PARTS", 1)  # every read closes the previous file
    images = np.concatenate([one.images for one in scans(slices)])
    draws = np.random.default_rng(0).integers(0, 12, (60, 4))
    with ThreadPoolExecutor(4) as pool:
        for draw, read in zip(draws, pool.map(slices.images, draws), strict=True):
            np.testing.assert_array_equal(read, images[draw])


def test_a_wrong_count_in_the_manifest_is_refused_and_reported_by_verify(tmp_path):
    with writing_parts(tmp_path, "key") as parts:
        parts.add(write_scan(tmp_path, scan(0, 3)))
    manifest = tmp_path / MANIFEST
    manifest.write_text(manifest.read_text().replace('"count": 3', '"count": 4'))
    with pytest.raises(InputError, match="must contain 4 items, got 3"):
        Slices(tmp_path)
    assert "must contain 4 items, got 3" in Parts(tmp_path).verify()[0]


def test_an_existing_path_that_looks_like_a_url_is_read_as_a_path(tmp_path):
    folder = tmp_path / "my::study"
    folder.mkdir()
    with writing_parts(folder, "key") as parts:
        parts.add(write_scan(folder, scan(0, 3)))
    assert len(Slices(folder)) == 3


def test_healthy_pixels_are_unknown_if_a_part_does_not_store_them(tmp_path):
    with writing_parts(tmp_path, "key") as parts:
        parts.add(write_scan(tmp_path, replace(scan(0, 3), healthy=np.array([7, 0, 40000]))))
        parts.add(write_scan(tmp_path, scan(1, 2)))
    slices = Slices(tmp_path)
    assert slices.healthy[slices.series == "series0"].tolist() == [7, 0, 40000]
    assert slices.healthy[slices.series == "series1"].tolist() == [-1, -1]


def test_parts_of_format_1_are_read_without_healthy_pixels_and_later_formats_refused(tmp_path):
    one = scan(0, 3)
    arrays = {name: getattr(one, name) for name in ("images", "labels", "counts", "lung", "positions")}
    attributes = {name: getattr(one, name) for name in ("patient", "series", "labelled", "pixel_area", "phantom")}
    for folder, more in ((tmp_path / "1", {}), (tmp_path / "3", {"format": 5})):
        folder.mkdir()
        with writing_parts(folder, "key") as parts:
            parts.add(write_part(folder, one.series, arrays, attributes | more, key=""))
    assert Slices(tmp_path / "1").healthy.tolist() == [-1, -1, -1]
    np.testing.assert_array_equal(Slices(tmp_path / "1").counts, one.counts)
    with pytest.raises(InputError, match="part series0 must have format 4 or older, got 5"):
        Slices(tmp_path / "3")
