"""The content of an answer: scores of scan and slices for each head, slices to look at, origin, and no identity."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles

from ildfv.evaluation.thresholds import Sigmoid
from ildfv.inference import schema
from ildfv.inference.extent import first_slices, in_lung, sides, zones
from ildfv.inference.head_answers import grid_pixels, head_answer
from ildfv.inference.heads import sigmoids_of
from ildfv.inference.inbox import predict_all
from ildfv.inference.methods import methods_paragraph
from ildfv.inference.page import prediction_page
from ildfv.inference.predictor import Predictor
from ildfv.inference.schema import Curve
from ildfv.patterns import PATTERNS, PRESENT
from ildfv.pipeline.expected import count_curves, head_target, on_paper_grid
from ildfv.pipeline.scan_calibration import exported_sigmoids, highest_of_scans, scan_fields
from ildfv.scans.geometry import Geometry
from ildfv.scans.volume import Volume


@pytest.mark.slow
def test_every_head_has_numbers_for_the_scan_and_for_each_slice(prediction):
    answer = prediction.to_dict()
    assert answer["primary_head"] == "fv-conv1"
    for head in answer["heads"].values():
        for name in ("scores", "probability", "presence", "pixels", "area"):
            assert np.shape(head["per_slice"][name]) == (6, 4)
        for row in head["scan"].values():
            assert row["look_first_at_slices"][0] == row["look_first_at_slice"]
            assert row["probability"] is None or 0 <= row["probability"] <= 1
            assert row["present"] == (row["slices"] > 0)
            if row["slices"]:
                assert row["area_cm2_present_slices"] >= 0
                assert sum(row["zones"].values()) == pytest.approx(1)
                for pair in (("left", "right"), ("ventral", "dorsal")):
                    assert sum(row["shares"][side] for side in pair) == pytest.approx(1)
    assert any(row["slices"] for row in answer["heads"]["fv-conv1"]["scan"].values())


def test_outputs_name_the_training_data_the_version_and_the_checksum(prediction):
    answer = prediction.to_dict()
    assert answer["predictor"]["training"]["fit_patients"] > 0
    assert set(answer["predictor"]) >= {"checksum", "data", "ildfv", "training"}
    assert prediction.stamp in prediction.to_csv().splitlines()[1]
    page = prediction_page(prediction)
    assert f"Predictor {answer['predictor']['checksum'][:12]}" in page
    assert "trained on" in page
    assert "Gaussian mixture with 4 components" in answer["methods"]
    assert answer["methods"] in page


def test_methods_name_the_networks_that_were_not_fitted_on_the_slices(folder):
    info = Predictor.load(folder).info
    assert "All models were fitted on" in methods_paragraph(
        with_network(info, trained=True, all_patients=False), "0" * 12
    )
    frozen = methods_paragraph(with_network(info, trained=False, all_patients=False), "0" * 12)
    assert "All models except the frozen cnn-f network were fitted on" in frozen
    everyone = methods_paragraph(with_network(info, trained=True, all_patients=True), "0" * 12)
    assert "All models except the cnn-f network were fitted on" in everyone
    assert "The cnn-f network was trained without the patients of one fold." in everyone


def with_network(info, *, trained, all_patients):
    """The info with one network that was trained in the workspace or is frozen."""
    networks = {
        name: one.model_copy(update={"architecture": "cnn-f", "trained": trained})
        for name, one in info.networks.items()
    }
    return info.model_copy(update={"networks": networks, "training": {**info.training, "all_patients": all_patients}})


def test_pages_have_nouns_in_the_singular_after_one(prediction):
    training = {**prediction.predictor["training"], "fit_slices": 1, "fit_patients": 1}
    page = prediction_page(replace(prediction, predictor={**prediction.predictor, "training": training}))
    assert f"trained on 1 slice of 1 {'phantom' if prediction.predictor['data'] == 'phantom' else 'patient'}." in page


def test_a_head_that_was_not_compared_with_baselines_states_this(prediction):
    assert "not compared with baselines" in prediction.head.performance
    assert "was not compared with baselines, because <code>ildfv baselines</code>" in prediction_page(prediction)


def test_slices_to_look_at_first_are_not_neighbours():
    scores = np.array([0.0, 5.0, 9.0, 8.0, 1.0, 7.0, 0.0])
    assert first_slices(scores, np.arange(7) * 5.0) == [2, 5, 0]
    assert first_slices(scores[:1], np.zeros(1)) == [0]


def test_zones_are_shares_of_the_area_by_height():
    positions, lung = np.arange(9) * 10.0, np.array([0, 50, 50, 50, 50, 50, 50, 50, 0.0])
    presence, area = np.ones(9, bool), np.array([99, 1, 1, 0, 0, 0, 2, 4, 99.0])
    found = zones(presence, area, positions, lung)
    assert found == {"lower": 0.25, "middle": 0.0, "upper": 0.75}
    assert zones(~presence, area, positions, lung) is None
    assert zones(presence, np.full(9, np.nan), positions, lung)["middle"] == pytest.approx(2 / 7)


def test_sides_are_those_of_the_patient():
    body, lung = np.zeros((1, 60, 80), bool), np.zeros((1, 60, 80), bool)
    body[:, 5:55, 10:70] = True  # centre at column 39.5
    lung[:, 10:50, 15:35] = lung[:, 10:50, 45:65] = True
    maps = np.zeros((1, 60, 80))
    maps[0, 12:18, 50:60] = 1.0  # ventral, to the patient's left
    maps[0, 40:46, 18:28] = -5.0  # negative: evidence against the pattern
    found = sides(maps, lung, body)
    assert found["left"] > 0.99
    assert found["ventral"] > 0.99
    assert sides(-maps, lung, body)["right"] > 0.99
    assert sides(maps * 0, lung, body) is None


def test_pixels_of_a_presence_head_are_interpolated_from_held_out_slices(prediction, folder):
    scores = np.array([[0.0], [1.0], [2.0], [3.0]])
    (curve,) = count_curves(np.array([[0], [100], [300], [-1]]), scores)
    assert np.interp([0.5, 9], curve.scores, curve.pixels).tolist() == [50, 300]
    assert count_curves(np.array([[2**30], [0], [-1], [-1]]), scores) == [None]  # only presence is known, not a count
    assert count_curves(np.array([[2**30], [0], [0], [2**30]]), scores) == [None]
    loaded = Predictor.load(folder)
    head = loaded.info.heads[0].model_copy(update={"target": "presence", "counts": [curve, None]})
    volume = type("V", (), {"hu": np.empty((2, 1024, 1024))})
    found = grid_pixels(head, np.array([[0.5, 1], [2, 1]]), volume)
    np.testing.assert_array_equal(found, [[200, np.nan], [1200, np.nan]])
    assert isinstance(curve, Curve)


def test_the_probability_of_a_scan_is_calibrated_on_the_highest_slice_of_scans():
    random = np.random.default_rng(0)
    series = np.repeat(np.arange(200), 10)
    ill = random.random(200) < 0.3
    presence = (ill[series] & (random.random(2000) < 0.5)).astype(int)[:, None]
    scores = random.normal(2.0 * presence)
    found = scan_fields(*highest_of_scans(series, presence, scores, series))
    assert found["no_scan_probability"] == [""]
    (sigmoid,) = sigmoids_of(found["scan_sigmoids"])
    highest = scores.reshape(200, 10).max(axis=1)
    assert sigmoid(highest).mean() == pytest.approx(ill.mean(), abs=0.05)


def test_a_probability_of_a_scan_needs_five_patients_with_and_five_without_the_pattern():
    truth, scores = np.repeat([1, 0, -1], [6, 6, 3])[:, None], np.arange(15, 0, -1.0)[:, None]

    def fields(patients):
        found = scan_fields(truth, scores, np.array(patients))
        return found["scan_sigmoids"][0], found["no_scan_probability"][0]

    sigmoid, reason = fields([0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 9, 10, 11, 12])
    assert sigmoid.slope > 0
    assert reason == ""
    sigmoid, reason = fields([0, 1, 2, 3, 3, 3, 5, 6, 7, 8, 9, 9, 10, 11, 12])
    assert sigmoid is None
    assert reason.endswith("of at least 5 patients with the pattern and 5 without it, got 4 and 5")
    falling = scan_fields(truth, -scores, np.arange(15))
    assert falling["scan_sigmoids"] == [None]
    assert "are not higher" in falling["no_scan_probability"][0]


def test_every_output_states_why_a_scan_has_no_probability(prediction):
    document, page = prediction.to_dict(), prediction_page(prediction)
    (head,) = document["heads"].values()
    without = {pattern: row["no_probability"] for pattern, row in head["scan"].items() if row["probability"] is None}
    assert without  # the eight patients of the study are too few for some pattern
    for pattern, reason in without.items():
        assert "calibration needs held-out scans of at least 5 patients" in reason
        assert pattern in page
        assert reason in page
    assert all(row["no_probability"] is None for row in head["scan"].values() if row["probability"] is not None)


def test_a_sigmoid_that_contradicts_the_threshold_is_not_exported():
    rising, falling = Sigmoid(2.0, 0.5), Sigmoid(-2.0, 0.5)
    assert exported_sigmoids([rising, falling, None]) == [schema.Sigmoid(slope=2.0, intercept=0.5), None, None]


def test_a_finished_scan_of_another_predictor_is_replaced_only_on_request(folder, tmp_path):
    ScanFiles.series(tmp_path / "dicom", ScanFiles.chest(2))
    predict_all([tmp_path / "dicom"], folder, out=tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*/prediction.json")
    document = json.loads(path.read_text())
    document["predictor"]["checksum"] = "0" * 64
    path.write_text(json.dumps(document))
    _, failed = predict_all([tmp_path / "dicom"], folder, out=tmp_path / "out")
    assert "was written with another predictor: give another --out, or replace it with --fresh" in failed[0]["reason"]
    answers, failed = predict_all([tmp_path / "dicom"], folder, out=tmp_path / "out", fresh=True)
    assert failed == []
    assert answers[0]["predictor"]["checksum"] == Predictor.load(folder).checksum


def test_several_heads_are_all_shown_and_the_primary_one_first(prediction):
    other = replace(prediction.head, name="cnn-other", performance="Other.")
    both = replace(prediction, heads={**prediction.heads, "cnn-other": other})
    page = prediction_page(both)
    assert "<h2>Patterns, by fv-conv1</h2>" in page
    first, others = page.split("<h2>Other systems</h2>")
    assert "<summary>cnn-other</summary>" in others
    for part in (first, others):
        assert part.count("<th>Look first at slices</th>") == 1  # the table of a head
        assert part.count("<svg") == 4
    assert list(both.to_dict()["heads"]) == ["fv-conv1", "cnn-other"]


def test_the_floor_of_maps_changes_neither_their_sum_nor_the_score(folder):
    limited = Predictor.load(folder)
    encodings = {name: one.model_copy(update={"floor": 0.0}) for name, one in limited.info.encodings.items()}
    exact = Predictor(limited.info.model_copy(update={"encodings": encodings}), limited.tensors, checksum="")
    assert limited.limited("fv-conv1")
    assert not exact.limited("fv-conv1")
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 224, 224)).astype(np.uint8)
    clear, noisy = (one.contributions(images, 0.5) for one in (limited, exact))
    np.testing.assert_allclose(clear.sum(axis=(2, 3)), noisy.sum(axis=(2, 3)), atol=1e-8)
    assert np.abs(clear).sum() < np.abs(noisy).sum()
    np.testing.assert_array_equal(limited.scores(images, 0.5)["fv-conv1"], exact.scores(images, 0.5)["fv-conv1"])


def test_page_and_json_state_that_maps_are_limited(prediction):
    assert prediction.to_dict()["contributions_limited"] is True
    assert "the removed part is spread evenly" in prediction_page(prediction)
    assert "the removed part is spread evenly" not in prediction_page(replace(prediction, limited=False))


def test_patterns_are_sought_between_the_first_and_the_last_slice_with_lung():
    lung = np.array([0.0, 1.0, 50.0, 0.5, 80.0, 1.0, 0.0])  # cm²; the mask of slice 3 failed
    assert in_lung(np.arange(7.0), lung).tolist() == [False, False, True, True, True, False, False]
    assert in_lung(np.arange(3.0), np.zeros(3)).all()  # a mask that found nothing excludes nothing
    bowel = np.array([20.0, 13.0, 150.0, 245.0, 6.0, 3.0])  # gas below the lung, apex, trachea
    assert in_lung(np.arange(6.0), bowel).tolist() == [False, False, True, True, True, False]


def test_a_slice_outside_the_lung_shows_no_pattern_whatever_its_score(folder):
    head = Predictor.load(folder).head()
    head = head.model_copy(
        update={
            "conformal": schema.ConformalSets(
                level=0.8,
                present_from=[0.0] * 4,
                absent_to=[0.0] * 4,
                present_patients=[5] * 4,
                absent_patients=[5] * 4,
            )
        }
    )
    m = 5
    grid = Geometry((m, 512, 512), np.zeros(3), np.diag([20.0, 0.7, 0.7]))
    volume = Volume(np.zeros(grid.shape, np.int16), grid, "P", "S", Path("scan"))
    lung, scores = np.array([0.0, 0.0, 60.0, 80.0, 0.0]), np.full((m, 4), 2.0)
    scores[[0, 4]] = 1000.0
    found = head_answer(head, PATTERNS, scores, volume, lung, has_size=True)
    assert found.presence.any(axis=1).tolist() == [False, False, True, True, False]
    assert {z for first in found.first for z in first} == {2, 3}
    assert np.isnan(found.probability[[0, 1, 4]]).all()
    assert [row[0] for row in found.sets] == ["absent", "absent", "present", "present", "absent"]
    assert (found.area <= lung[:, None]).all()
    within = head_answer(head, PATTERNS, np.full((m, 4), 2.0), volume, lung, has_size=True)
    np.testing.assert_array_equal(found.scan_probability, within.scan_probability)


def test_counts_of_other_grids_are_converted_to_the_grid_of_predictions():
    counts = np.array([[900, 0], [PRESENT, -1], [800, 7]])
    found = on_paper_grid(counts, np.array([768, 768, 512]))
    assert found.tolist() == [[400, 0], [PRESENT, -1], [800, 7]]
    assert head_target("counts", 6000, 6000, np.full(3, 512)) == "counts"
    assert head_target("counts", 6000, 6000, np.array([512, 768])) == "scaled counts"  # a curve converts the scores
