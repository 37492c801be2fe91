"""Two scans of a patient: matched by lung, compared with an interval, refused if they cannot be compared."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.inference import follow_up
from ildfv.inference.follow_up import compare, compare_scans, interval_of
from ildfv.inference.predictor import Predictor
from ildfv.pipeline.expected import scan_errors

SECRET = "CANARY-7731"


@pytest.fixture(scope="module")
def prediction(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "dicom"
    ScanFiles.series(path, ScanFiles.chest(12))
    return Predictor.load(folder).predict(path)


def with_profile(prediction, m: int, area, lung=100.0, error=(0.5, 20)):
    """The prediction with m slices of lung and two without at each end; area: height → cm² of each pattern."""
    height = np.linspace(0, 1, m)
    inside = np.concatenate([np.zeros(2), np.ones(m), np.zeros(2)])
    areas = np.concatenate([np.full(2, 77.0), area(height), np.full(2, 77.0)])[:, None] * np.ones(4)
    head = replace(prediction.head, area=areas, mean_error=[error] * 4)
    positions = np.arange(m + 4) * 300.0 / m
    return replace(prediction, positions=positions, lung=inside * lung, heads={head.name: head})


def test_equal_scans_have_no_change_whatever_their_slices(prediction):
    before = with_profile(prediction, 30, lambda h: 10 * h)
    after = with_profile(prediction, 61, lambda h: 10 * h)
    for row in compare(before, after).to_dict()["patterns"].values():
        assert row["change_cm2"] == pytest.approx(0, abs=1e-6)
        assert row["before_cm2"] == pytest.approx(5, abs=0.01)
        low, high = row["change_interval_cm2"]
        assert low <= 1e-6
        assert high >= -1e-6


def test_a_change_is_found_at_the_matched_height_and_as_a_share_of_lung(prediction):
    before = with_profile(prediction, 40, lambda h: 10.0 * (h < 0.5))
    after = with_profile(prediction, 40, lambda h: 20.0 * (h < 0.5))
    found = compare(before, after).to_dict()
    row = found["patterns"]["honeycomb"]
    assert row["change_cm2"] == pytest.approx(5, abs=0.3)
    assert row["change_interval_cm2"][0] > 0
    assert row["after_share_of_lung"] == pytest.approx(0.1, abs=0.01)
    assert row["profile_after_cm2"][30] == 0
    assert "It does not cover differences between scanners" in found["interval"]


def test_the_interval_covers_the_change_of_scans_with_the_errors_of_held_out_scans():
    random, hits = np.random.default_rng(0), 0
    for _ in range(500):
        held_out = random.normal(0, 3.0, 8)
        error = (float(np.sqrt(np.mean(held_out**2))), 8)
        before, after = 10.0 + random.normal(0, 3.0), 12.0 + random.normal(0, 3.0)
        low, high = interval_of(after - before, [error, error])
        hits += low <= 2.0 <= high
    assert 0.93 < hits / 500 < 0.97


def test_errors_are_those_of_the_mean_of_whole_scans():
    series = np.repeat(np.arange(6), 3)
    counts = np.zeros((18, 2), int)
    counts[0, 1] = -1
    pixels = np.repeat([3.0, -3.0, 3.0, -3.0, 3.0, -3.0], 3)[:, None] * np.ones(2)
    first, second = scan_errors(series, counts, pixels)
    assert (first.pixels, first.scans) == (3.0, 6)
    assert (second.pixels, second.scans) == (3.0, 5)  # the scan with an unknown slice is excluded
    assert scan_errors(series[:12], counts[:12], pixels[:12]) == [None, None]


def test_without_known_errors_there_is_no_interval(prediction):
    before = with_profile(prediction, 5, lambda h: h, error=None)
    assert compare(before, before).to_dict()["patterns"]["emphysema"]["change_interval_cm2"] is None


@pytest.mark.slow  # two predictions with all files
def test_the_command_writes_a_page_and_json_without_identity(folder, tmp_path):
    for name, date, seed in (("a", "20200101", 0), ("b", "20210101", 1)):
        ScanFiles.series(
            tmp_path / name, ScanFiles.chest(12, seed=seed), patient=SECRET, AcquisitionDate=date,
            AcquisitionTime="120000",
        )  # fmt: skip
    out = tmp_path / "out"
    arguments = ["predict", str(tmp_path / "a"), str(tmp_path / "b"), "--follow-up", "-p", str(folder), "--methods"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "matching the heights" in " ".join(result.output.split())
    (page,), (document,) = out.glob("follow-up-*.html"), out.glob("follow-up-*.json")
    found = json.loads(document.read_text())
    assert found["days"] == 366
    assert len(found["levels"]) == 12
    assert "Research use only" in page.read_text()
    for path in (page, document):
        assert SECRET not in path.read_text()
        assert SECRET not in path.name
    assert SECRET not in result.output


@pytest.mark.parametrize("tag", ["AcquisitionDate", "SeriesDate", "StudyDate"])
def test_scans_that_cannot_be_compared_are_refused(folder, tmp_path, tag):
    loaded = Predictor.load(folder)
    for name, patient, date in (("a", "P", "20210101"), ("b", "P", "20200101"), ("c", "Q", "20220101")):
        ScanFiles.series(tmp_path / name, ScanFiles.chest(2), patient=patient, **{tag: date})
    with pytest.raises(InputError, match="needs the earlier scan first, got the later scan first: swap"):
        compare_scans([tmp_path / "a", tmp_path / "b"], loaded)
    with pytest.raises(InputError, match="needs two scans of one patient, got two patients"):
        compare_scans([tmp_path / "a", tmp_path / "c"], loaded)
    with pytest.raises(InputError, match="needs two scans, the earlier scan first, got 1"):
        compare_scans([tmp_path / "a"], loaded)
    with pytest.raises(InputError, match="got the same scan in "):
        compare_scans([tmp_path / "a", tmp_path / "a"], loaded)


@pytest.mark.parametrize("fault", ["header", "pixels", "missing file"])
def test_errors_of_a_scan_name_the_source_and_no_file(folder, tmp_path, monkeypatch, fault):
    loaded = Predictor.load(folder)
    for name, seed in (("a", 0), ("b", 1)):
        files = ScanFiles.series(tmp_path / name / SECRET, ScanFiles.chest(2, seed=seed))
    broken = files[0].rename(files[0].with_name(f"{SECRET}-1.dcm"))
    if fault == "header":
        broken.write_bytes(broken.read_bytes()[:3000])
    elif fault == "pixels":
        slice_ = pydicom.dcmread(broken)
        slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 12, 11, 0
        slice_.PixelData = b"\xfc\xff" * 4096
        slice_.save_as(broken)
    else:
        real = follow_up.predicted
        monkeypatch.setattr(follow_up, "predicted", lambda *a, **k: (broken.unlink(missing_ok=True), real(*a, **k))[1])
    sources = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(InputError) as found:
        compare_scans(sources, loaded)
    assert str(tmp_path / "b") in str(found.value)
    assert SECRET not in str(found.value)


def test_scans_that_cannot_be_compared_are_found_before_the_first_is_predicted(folder, tmp_path, monkeypatch):
    for name, patient in (("a", "P"), ("b", "Q")):
        ScanFiles.series(tmp_path / name, ScanFiles.chest(2), patient=patient, AcquisitionDate="20200101")
    monkeypatch.setattr("ildfv.inference.follow_up.predicted", lambda *a, **k: pytest.fail("predicted"))
    loaded = Predictor.load(folder)
    with pytest.raises(InputError, match="needs two scans of one patient, got two patients"):
        compare_scans([tmp_path / "a", tmp_path / "b"], loaded)
    for counts in ([], [None] * 4):  # of a head that was fitted to presence only, or to labels of scans
        heads = [one.model_copy(update={"target": "presence", "counts": counts}) for one in loaded.info.heads]
        loaded.info = loaded.info.model_copy(update={"heads": heads})
        with pytest.raises(InputError, match="needs a predictor with a head that estimates areas, got no such head"):
            compare_scans([tmp_path / "a", tmp_path / "missing"], loaded)
