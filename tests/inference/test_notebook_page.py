"""A prediction in a notebook: static HTML that works offline and leaves the rest of the page alone."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ildfv.inference.page import prediction_page
from ildfv.inference.prediction import HeadAnswer, Prediction
from ildfv.scans.geometry import Geometry

PATTERNS = ["ground glass", "reticular", "honeycomb", "emphysema"]


@pytest.fixture
def prediction():
    """Three slices; the second shows every pattern."""
    scores = np.array([[0.1], [0.9], [0.2]]).repeat(4, axis=1)
    head = HeadAnswer(
        name="fv-conv1",
        scores=scores,
        probability=scores,
        presence=scores > 0.5,
        pixels=np.full(scores.shape, np.nan),
        area=np.full(scores.shape, np.nan),
        thresholds=[0.5] * 4,
        best=scores.argmax(axis=0),
    )
    return Prediction(
        scan="scan-<b>0</b>",
        patterns=PATTERNS,
        positions=np.arange(3.0),
        lung=np.full(3, 100.0),
        heads={"fv-conv1": head},
        statements=["Within the range of the training slices."],
        predictor={"checksum": "0" * 64, "data": "phantom", "ildfv": "0.1.0", "heads": ["fv-conv1"]},
        notes=[],
        images=np.zeros((3, 3, 224, 224), np.uint8),
        geometry=Geometry((3, 512, 512), np.zeros(3), np.diag([1.0, 1.0, 1.0])),
        contributions=np.zeros((3, 4, 224, 224)),
        contributions_head="fv-conv1",
    )


def test_in_a_notebook_a_prediction_is_static_and_works_offline(prediction):
    html = prediction._repr_html_()
    assert "Research use only" in html
    assert html.count("data:image/png;base64,") == 8  # a slice and its contributions for each pattern
    assert not re.search(r"<script|<link|<iframe|\son\w+=|https?:|src=\"(?!data:)|url\(|@import", html)
    assert "scan-&lt;b&gt;" in html


def test_in_a_notebook_a_prediction_styles_only_itself(prediction):
    style = re.search(r"<style>(.*?)</style>", prediction._repr_html_(), re.DOTALL)[1]
    selectors = re.findall(r"([^{}]+)\{", re.sub(r"@media [^{]*\{", "", style))
    parts = [part.strip() for selector in selectors for part in selector.split(",")]
    assert [part for part in parts if not part.startswith(".ildfv")] == []
    assert "body{" in prediction_page(prediction)  # in contrast, a separate page sets its own background


def test_a_prediction_without_maps_is_shown_too(prediction):
    assert replace(prediction, contributions=None)._repr_html_().count("data:image/png") == 4


def test_commands_in_sentences_are_code(prediction):
    head = replace(prediction.heads["fv-conv1"], no_sets="run `ildfv export <b>`")
    html = replace(prediction, heads={"fv-conv1": head}, notes=["See `ildfv view`."])._repr_html_()
    assert "<code>ildfv view</code>" in html
    assert "<code>ildfv export &lt;b&gt;</code>" in html
    assert "`" not in html
