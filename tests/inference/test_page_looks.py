"""The pages of predictions in a browser on a desktop, on a phone and on paper. Skipped without a browser."""

from dataclasses import replace

import numpy as np
import pytest

from ildfv.inference.follow_up import compare
from ildfv.inference.gallery import Group, Picture, gallery
from ildfv.inference.page import prediction_page

pytestmark = pytest.mark.slow

LONG = "fv-filters+patches+cnn-torchvision-squeezenet1_1-features_10_expand3x3-lung-logistic"
WIDER = """() => [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.tagName + " " + e.textContent.trim().slice(0, 40))"""


@pytest.fixture(scope="module")
def pages(prediction, tmp_path_factory):
    """The files of a page of each kind, with long names of systems and with all optional parts."""
    head = replace(
        prediction.head,
        name=LONG,
        auc=[(0.9, (0.73, 0.97))] * 4,
        sets=[["present", "absent", "present or absent", "unlike both"]] * len(prediction.positions),
        sets_level=0.8,
        performance=f"{LONG} does not beat the best baseline.",
        zones=[{"lower": 1.0, "middle": 0.0, "upper": 0.0}] * 4,
        area=np.full(prediction.head.scores.shape, 123.4),
        mean_error=[(12.0, 20)] * 4,
    )
    heads = {LONG: head, "other": replace(head, name=f"other-{LONG}")}
    identity = dict.fromkeys(("patient", "study", "series", "source"), "1.2." + "3" * 50)
    full = replace(prediction, heads=heads, contributions_head=LONG, identity=identity)
    picture = Picture(np.zeros((64, 64), np.uint8), f"slice 3 of {LONG}", "a slice")
    written = {
        "prediction": prediction_page(full),
        "follow-up": compare(full, full).to_page(),
        "gallery": gallery(f"Slices similar to {LONG}", [LONG], [Group(LONG, [picture] * 3, LONG)], phantom=True),
    }
    folder = tmp_path_factory.mktemp("pages")
    for name, text in written.items():
        (folder / f"{name}.html").write_text(text)
    return folder


@pytest.mark.parametrize("width", [320, 420, 800, 1280])
@pytest.mark.parametrize("name", ["prediction", "follow-up", "gallery"])
def test_nothing_on_a_page_is_wider_than_the_screen(browser, pages, name, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto((pages / f"{name}.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(WIDER) == []
    page.close()


@pytest.mark.parametrize(("name", "label"), [("prediction", "Probability on scan"), ("follow-up", "95 % interval")])
def test_on_a_phone_each_cell_has_the_name_of_its_column(browser, pages, name, label):
    page = browser.new_page(viewport={"width": 420, "height": 900})
    page.goto((pages / f"{name}.html").as_uri())
    shown = "[...document.querySelectorAll('table')][0].rows[1]"
    names = page.evaluate(f"[...{shown}.cells].slice(1).map(c => getComputedStyle(c, '::before').content)")
    columns = page.evaluate("[...document.querySelectorAll('table')[0].rows[0].cells].slice(1).map(c => c.textContent)")
    assert [one.strip('"') for one in names] == columns
    assert label in columns
    page.close()


@pytest.mark.parametrize("name", ["prediction", "follow-up", "gallery"])
def test_a_page_is_readable_in_dark_mode_and_on_paper(browser, pages, name):
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page.goto((pages / f"{name}.html").as_uri())
    text = "getComputedStyle(document.querySelector('h1')).color"
    assert page.evaluate(text) == "rgb(230, 233, 236)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(text) == "rgb(27, 31, 36)"
    assert all(page.evaluate("[...document.querySelectorAll('details > :not(summary)')].map(d => d.checkVisibility())"))
    page.close()
