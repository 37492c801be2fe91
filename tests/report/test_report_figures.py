"""Figures and pictures: marks at the values, outlines around the labels."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from ildfv.errors import InputError
from ildfv.evaluation.documents import PatternResults
from ildfv.inference.png import png_uri
from ildfv.report import figures
from ildfv.report.content import Example, Prediction, choose_examples
from ildfv.report.figures import Point, Series, forest, number, with_interval
from ildfv.report.pictures import outlines


def row(**changes):
    values = {
        "prevalence": 0.25,
        "positives": 5,
        "positive_patients": 5,
        "negative_patients": 6,
        "patients": {"auc": 5, "precision": 4, "recall": 5, "f": 5, "brier": 6},
        "auc": 0.75,
        "auc_interval": (0.5, 1.0),
        "ap": 0.6,
        "brier": 0.1,
        "brier_interval": None,
        "precision": 0.5,
        "precision_interval": None,
        "recall": 0.8,
        "recall_interval": None,
        "f": 0.6,
        "f_interval": None,
        "tp": 4,
        "fp": 4,
        "fn": 1,
        "tn": 12,
        "threshold": 0.5,
        "roc": {"fpr": [0, 0, 0.5, 1], "tpr": [0, 0.5, 1, 1]},
        "pr": {"recall": [0, 0.5, 1], "precision": [1, 1, 0.5]},
        "calibration": {"predicted": [0.1, 0.9], "observed": [0.2, 0.8], "n": [40, 10]},
    }
    return PatternResults.from_dict(values | changes)


def path(svg, kind):
    return re.search(rf'class="{kind}" d="([^"]*)"', svg).group(1)


def test_a_roc_curve_goes_through_its_points_and_its_ring_is_at_the_threshold():
    svg = figures.roc("reticular", [Series(0, "cnn", row())])
    # Plot: x from 50 to 250, y from 220 (0) up to 20 (1).
    assert path(svg, "line") == "M50 220L50 120L150 20L250 20"
    assert 'class="used" cx="100.0" cy="60.0"' in svg  # fpr 4/16, recall 0.8
    assert "cnn: AUC 0.750" in svg


def test_a_pr_curve_is_a_staircase():
    assert path(figures.pr("reticular", [Series(0, "cnn", row())]), "line") == "M50 20L150 20L150 120L250 120"


def test_undefined_curves_are_omitted_and_listed_as_a_dash():
    empty = row(auc=None, ap=None, brier=None, roc=None, pr=None, calibration=None, precision=None, recall=None)
    for draw in (figures.roc, figures.pr, figures.calibration):
        svg = draw("reticular", [Series(0, "cnn", empty)])
        assert 'class="line' not in svg
        assert "circle" not in svg
        assert "cnn: AUC –" in svg or "cnn: AP –" in svg or "cnn: Brier –" in svg


def test_a_forest_plot_has_points_and_whiskers_at_their_values():
    groups = [("reticular", [Point(0, "cnn", 0.75, (0.5, 1.0)), Point(1, "fv", None, None)])]
    svg = forest("AUC", groups)
    # Axis from 0.2 to 1 over x 92 to 372.
    assert 'd="M197.0 26.0H372.0"' in svg
    assert 'cx="284.5"' in svg
    assert svg.count("<circle") == 1
    assert "fv: –" in svg


def test_numbers_have_a_real_minus_and_none_is_a_dash():
    assert number(-0.1234) == "−0.123"
    assert number(-0.0004) == "0.000"
    assert number(None) == "–"
    assert with_interval(0.5, [0.4, 0.61]) == "0.500 (0.400–0.610)"
    assert with_interval(0.5, None) == "0.500"
    assert with_interval(None, None) == "–"


def test_outlines_surround_the_labels():
    labels = np.zeros((20, 30), np.uint8)
    labels[5:10, 8:20] = 2
    paths = outlines(labels)
    assert [bool(p) for p in paths] == [False, True, False, False]
    points = np.array([[float(v) for v in point.split()] for point in re.split("[MLZ]+", paths[1]) if point])
    assert points[:, 0].min() == 8
    assert points[:, 0].max() == 20
    assert points[:, 1].min() == 5
    assert points[:, 1].max() == 10
    assert len(points) == 8  # the corners of the rectangle are cut, and each side is one line


def test_areas_at_the_border_and_holes_are_closed():
    labels = np.ones((10, 10), np.uint8)
    labels[4:6, 4:6] = 0
    path = outlines(labels)[0]
    assert path.count("M") == path.count("Z") == 2


def test_pictures_are_lossless():
    image = np.random.default_rng(0).integers(0, 256, (16, 24), dtype=np.uint8)
    raw = base64.b64decode(png_uri(image).removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(raw))), image)


def test_examples_are_chosen_by_rule_and_seed():
    rng = np.random.default_rng(0)
    truth = rng.random((200, 4)) < 0.3
    predicted = truth ^ (rng.random((200, 4)) < 0.15)
    chosen = choose_examples(truth, predicted, seed=1)
    assert choose_examples(truth, predicted, seed=1) == chosen
    assert choose_examples(truth, predicted, seed=2) != chosen
    assert len(chosen["right"]) == 4
    assert len(chosen["wrong"]) == 8
    assert len({*chosen["right"], *chosen["wrong"]}) == 12
    for k, i in enumerate(chosen["right"]):
        assert (truth[i] == predicted[i]).all()
        assert truth[i, k]
    for k, i in enumerate(chosen["wrong"]):
        assert truth[i, k // 2] == (k % 2 == 0)
        assert predicted[i, k // 2] == (k % 2 == 1)


def test_a_perfect_system_has_no_wrong_examples():
    truth = np.eye(4, dtype=bool)
    assert choose_examples(truth, truth) == {"right": [0, 1, 2, 3], "wrong": []}


def test_invalid_examples_are_refused():
    image = np.zeros((8, 8), np.uint8)
    with pytest.raises(InputError, match="image must be uint8 with two dimensions"):
        Example(image.astype(float), [False] * 4, [])
    with pytest.raises(InputError, match=r"labels must have the image's shape \(8, 8\), got \(4, 4\)"):
        Example(image, [False] * 4, [], np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match="scores must have 4 values"):
        Prediction("cnn", [True] * 4, [1.0])
