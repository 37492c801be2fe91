"""The page as rendered by a browser on a desktop, on a phone and on paper. Skipped without a browser."""

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import pytest
from report_support import document, example, full, predictions

from ildfv.evaluation.comparisons import compare
from ildfv.evaluation.tables import Table
from ildfv.report.content import Prediction
from ildfv.report.page import write_report

pytestmark = pytest.mark.slow

LONG = "cnn-torchvision-squeezenet1_1-features_10_expand3x3"
COLUMNS = ["slice", "source", "data", "present", "system", "TRIPOD+AI", "CLAIM"]
ROWS = [["patient 3fa2", "this run", "phantom", "emphysema", "CNN", "20a", "35, 36"]] * 2
WORDS = SimpleNamespace(
    title="Example slices", subtitle="", folds=[], notes=[], charts=[], tables=[Table("Fig. 6", COLUMNS, ROWS)]
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    systems = ["cnn", LONG, "fv-conv1", "fv-conv2", "fv-conv3", "fv-conv5"]
    pairs = combinations(map(lambda name: predictions(system=name), systems), 2)
    card = replace(example(), predictions=[Prediction(name, [True] * 4, [-1.25] * 4) for name in systems])
    content = full(
        results=[document(system=name) for name in systems],
        comparisons=[compare(a, b, n_resamples=10) for a, b in pairs],
        examples=[card] * 3,
        experiments=[WORDS],
    )
    return write_report(tmp_path_factory.mktemp("looks") / "report.html", content)


@pytest.fixture(params=[1280, 390], ids=["desk", "phone"])
def page(request, browser, path):
    one = browser.new_page(viewport={"width": request.param, "height": 900})
    one.goto(path.as_uri())
    yield one
    one.close()


# Overlapping texts in cells of one row; the text of each cell is measured, not its box.
OVERLAPS = """() => [...document.querySelectorAll(".results tr")].flatMap(row => {
  const boxes = [...row.cells].map(cell => {
    const range = document.createRange(); range.selectNodeContents(cell);
    return [cell.textContent.trim(), ...[...range.getClientRects()].map(r => [r.left, r.right])];
  });
  return boxes.slice(1).flatMap(([text, ...rects], i) => {
    const end = Math.max(...boxes[i].slice(1).map(r => r[1]));
    return rects.some(r => r[0] < end - .5) ? [boxes[i][0] + " | " + text] : [];
  });
})"""


def test_no_page_is_wider_than_its_screen(page):
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]


def test_texts_of_a_table_do_not_overlap(page):
    assert page.evaluate(OVERLAPS) == []


def test_no_score_of_a_card_is_hidden(page):
    hidden = "[...document.querySelectorAll('.example figcaption')].filter(f => f.scrollWidth > f.clientWidth).length"
    assert page.evaluate(hidden) == 0


def test_collapsed_sections_are_printed(page):
    visible = "[...document.querySelectorAll('details table')].map(t => t.checkVisibility())"
    page.emulate_media(media="screen")
    assert not any(page.evaluate(visible))
    page.emulate_media(media="print")
    shown = page.evaluate(visible)
    assert len(shown) > 15
    assert all(shown)
