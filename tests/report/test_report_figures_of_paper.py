"""Charts over a number, figures with a switch between systems, and the labels on them."""

import re

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.evaluation.tables import Estimate
from ildfv.report.chart import Chart, draw
from ildfv.report.content import Figure, Panel, ReportContent
from ildfv.report.figures import function
from ildfv.report.page import render
from ildfv.report.pictures import slice_svg


def chart(*values, interval=(0.45, 0.65)) -> Chart:
    one = [Estimate(value=v, interval=None if v is None else interval, mean=v, sd=None, n=1) for v in values]
    return Chart(title="t", x_label="patients", y_label="AUC", x=[12, 24, 48][: len(values)], series={"CNN": one})


def circles(svg) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]


def test_x_is_logarithmic_and_y_linear():
    (x1, y1), (x2, y2), (x3, y3) = circles(draw(chart(0.5, 0.6, 0.9)))
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.11)  # doubling is one step
    assert (y1 - y2) / (y2 - y3) == pytest.approx(0.1 / 0.3, rel=0.02)


def test_an_undefined_value_leaves_a_gap_and_a_chart_without_values_is_drawn():
    assert len(circles(draw(chart(0.5, None, 0.9)))) == 2
    assert circles(draw(chart(None, None, None))) == []


def test_a_chart_names_its_values_and_its_data():
    svg = draw(chart(0.5), mark="phantom data")
    assert "CNN, 12: 0.500 (0.450–0.650)" in svg
    assert ">phantom data<" in svg
    assert len(re.findall('class="whisker"', svg)) == 1


def test_an_unknown_field_of_a_chart_is_refused():
    with pytest.raises(InputError):
        Chart.from_dict({"title": "t"})


def test_a_function_is_drawn_from_corner_to_corner():
    svg = function([0, 1], [0, 1], "counts", ("pixel count", "pixels"), 12000, 12000)
    assert 'd="M50 220L250 20"' in svg
    assert ">12000<" in svg


def test_a_slice_has_the_areas_of_its_label_map():
    labels = np.zeros((8, 8), np.uint8)
    labels[2:4, 2:4] = 3
    image = np.zeros((8, 8), np.uint8)
    assert 'class="area p2"' in slice_svg(image, labels, label="slice")
    assert "area" not in slice_svg(image, None, label="slice")


def test_a_figure_with_systems_has_a_switch_and_a_figure_without_data_is_not_called_phantom():
    panel = Panel("(a) ROC", function([0, 1], [0, 1], "x", ("a", "b"), 1, 1))
    switched = Figure("Fig. 5", variants={"CNN": [panel], "conv1": [panel]})
    plain = Figure("Fig. 3", panels=[panel], of_data=False)
    page = render(ReportContent(data="phantom", figures=[switched, plain]))
    assert len(re.findall('type="radio"', page)) == 2
    assert len(re.findall('type="radio"[^>]*checked', page)) == 1
    assert re.search(r"<h3>Fig\. 5 <span class=\"tag\">phantom", page)
    assert "<h3>Fig. 3</h3>" in page
