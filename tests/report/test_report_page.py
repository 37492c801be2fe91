"""The page: one self-contained file, sections and charts, and everything escaped."""

import re
import unicodedata
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from report_support import Page, document, example, full, predictions

from ildfv.errors import InputError, printable_page
from ildfv.evaluation.comparisons import compare
from ildfv.evaluation.results import evaluate
from ildfv.evaluation.statistics import statistics
from ildfv.patterns import PATTERNS
from ildfv.report.content import Example, Prediction, ReportContent
from ildfv.report.page import render, write_report

HOSTILE = "<script>alert('x')</script>\"&{{ 7*7 }}"
HIDDEN = "\u202egnp.x\u202c \x1b[2J \u2066 \u200b \x85 \x07"  # bidirectional marks, escape sequences, invisible


def test_a_page_without_results_builds():
    page = Page(render(ReportContent(data="user")))
    assert page.open == []
    assert "Results" not in page.text
    assert "phantom" not in page.text.lower()


def test_a_full_page_has_every_section():
    page = Page(render(full()))
    assert page.open == []
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections == ["data", "folds", "results", "curves", "calibration", "comparisons", "examples", "made"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == [f"#{section}" for section in sections]


def test_the_page_loads_no_files_and_runs_no_scripts():
    html = render(full())
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/png;base64,")), (tag, value)
        assert not [name for name in attributes if name.startswith("on")]
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_phantom_data_is_named_wherever_numbers_are():
    html = render(full())
    page = Page(html)
    assert "Phantom data – not clinical." in page.text
    charts = re.findall(r'<svg class="chart.*?</svg>', html, flags=re.S)
    assert len(charts) == 2 + 3 * len(PATTERNS)
    assert all("phantom data</text>" in chart for chart in charts)
    captions = re.findall(r"<caption>(.*?)</caption>", html, flags=re.S)
    numbers = [c for c in captions if not c.startswith(("Settings", "Versions", "Time"))]
    assert len(numbers) >= 8
    assert all("phantom" in c for c in numbers)


def test_the_banner_is_also_correct_for_phantoms_among_real_scans():
    text = " ".join(Page(render(full())).text.split())
    assert "Some or all of the scans are generated phantoms" in text
    assert "Every scan" not in text


def test_healthy_patients_and_healthy_slices_are_distinguished_and_one_is_singular():
    presence = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [-1] * 4])
    counted = statistics(presence, ["p", "p", "q", "r"], labels=PATTERNS, threshold=6000)
    content = ReportContent(data="user", statistics=counted)
    text = " ".join(Page(render(content)).text.split())
    assert "no patternpatients: on none of their slices266.7 %1" in text
    assert "1 slice without a label map (1 patient has no label map at all) is excluded." in text


def test_a_users_own_data_is_not_called_phantom():
    results = [evaluate(predictions(), data="user", threshold=6000, n_resamples=20)]
    html = render(ReportContent(data="user", results=results))
    assert "phantom" not in html.lower()
    with pytest.raises(InputError, match="results must be from user data, like the report, got phantom"):
        ReportContent(data="user", results=[document()])


def everywhere(text):
    """Content that contains the text in every place that may come from a file or a name."""
    results = [document(system=text), document(system="b")]
    comparisons = [compare(predictions(system=text), predictions(system="b"), n_resamples=20)]
    return full(
        title=text,
        results=results,
        comparisons=comparisons,
        examples=[
            Example(e.image, e.truth, [Prediction(text, [True] * 4, [0.0] * 4)], e.labels, text) for e in [example()]
        ],
        settings={text: {text: text}},
        versions={text: text},
        seconds={text: 1.0},
        notes=[text],
        made=text,
    )


def test_hostile_names_are_escaped_everywhere():
    html = render(everywhere(HOSTILE))
    page = Page(html)
    assert page.open == []
    assert "<script" not in html
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count("<script>alert('x')</script>") > 10
    assert "49" not in {value for _, a in page.tags for value in a.values() if value and "alert" in value}


def test_marks_that_change_how_text_appears_are_shown_escaped_everywhere():
    html = render(everywhere(HIDDEN))
    found = {c for c in html if not c.isprintable() and unicodedata.category(c) != "Zs"}
    assert found <= {"\n", "\t"}
    assert html.count(r"\u202egnp.x\u202c \x1b[2J \u2066 \u200b \x85 \x07") > 10


def test_line_breaks_and_letters_of_any_script_are_kept():
    text = "µm² \u2009 é 肺\t\n"
    assert printable_page(text) == text


def test_charts_are_well_formed_and_described():
    charts = re.findall(r"<svg .*?</svg>", render(full()), flags=re.S)
    for chart in charts:
        root = ElementTree.fromstring(chart)
        assert root.get("aria-label") or root.get("aria-hidden") == "true"
    described = [c for c in charts if 'class="chart' in c]
    assert all("cnn" in ElementTree.fromstring(c).get("aria-label") for c in described)


def test_tables_have_captions_and_headers():
    html = render(full())
    for table in re.findall(r"<table.*?</table>", html, flags=re.S):
        assert "<caption" in table
        assert 'scope="row"' in table
    ids = [a["id"] for _, a in Page(html).tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_correct_and_incorrect_examples_are_distinguished():
    html = render(full())
    right, wrong = html.split("<h3>Inc")[0].split("<h3>Correctly")[1], html.split("<h3>Incorrectly")[1]
    assert right.count('<figure class="example">') == wrong.count('<figure class="example">') == 1
    assert 'class="hit"' in right
    assert 'class="miss"' in wrong
    assert 'class="alarm"' in wrong
    assert "patterns present: ground glass" in right


def test_equal_content_gives_equal_bytes_in_a_small_file(tmp_path):
    first = write_report(tmp_path / "a.html", full())
    second = write_report(tmp_path / "b.html", full())
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 3e6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]
