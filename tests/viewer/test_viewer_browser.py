"""The viewer in a real browser: keys, overlays, sizes of the window. Skipped without Chromium."""

import pytest
from browser_support import coloured, picture, shown, until
from viewer_support import SLICES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("start", "key", "end"),
    [
        (2, "ArrowUp", 3),
        (2, "ArrowDown", 1),
        (0, "PageUp", SLICES - 1),
        (4, "PageDown", 0),
        (1, "Home", SLICES - 1),
        (3, "End", 0),
        (4, "ArrowUp", 4),
        (0, "ArrowDown", 0),
    ],
)
def test_keys_move_through_the_slices(start, key, end, page):
    page.evaluate(f"viewer.go({start})")
    until(page, "viewer.pane.at", start)
    page.keyboard.press(key)
    until(page, "viewer.pane.at", end)
    assert page.locator("#image .tl").inner_text().startswith(f"{end + 1} / {SLICES}")
    until(page, "document.querySelector('#slider').value", str(end))  # follows the image after up to 60 ms


def test_digits_choose_patterns_and_their_maps(page):
    for digit, pattern in enumerate(("ground glass", "reticular", "honeycomb", "emphysema")):
        page.keyboard.press(str(digit + 1))
        until(page, "document.querySelector('#patterns tr.chosen span').textContent", pattern)
        until(page, "viewer.pane.wish", digit)
        assert page.locator("#top-pattern").inner_text() == f"of {pattern}"
    page.keyboard.press("5")
    assert page.evaluate("viewer.state.pattern") == 3


def test_w_goes_through_the_windows(page):
    found = []
    for _ in range(4):
        before = picture(page)
        page.keyboard.press("w")
        found.append(page.locator("#image .tr").inner_text())
        assert picture(page) != before
    names = [text.split()[0] for text in found]
    assert names == ["Low", "High", "Custom", "Lung"]
    assert found[1].split() == ["High", "C", "40", "W", "400"]


def test_o_and_l_switch_the_overlays(page):
    page.keyboard.press("l")
    until(page, "viewer.pane.view.paths === null")
    assert coloured(picture(page))  # by the contribution map
    page.keyboard.press("o")
    until(page, "viewer.pane.view.overlay === null")
    assert not coloured(picture(page))
    assert not page.locator("#show").is_checked()
    page.keyboard.press("o")
    until(page, "viewer.pane.view.overlay !== null")
    assert coloured(picture(page))
    page.keyboard.press("l")
    until(page, "viewer.pane.view.paths.some(Boolean)")


def test_m_goes_through_the_maps(page):
    kinds = []
    for _ in range(3):
        page.keyboard.press("m")
        kinds.append(page.evaluate("viewer.state.kind"))
        until(page, "viewer.pane.map ? viewer.state.scan.maps[viewer.pane.wish].kind : ''", kinds[-1])
    assert kinds == ["cam", "", "contributions"]
    assert page.locator("#legend").is_visible()


def test_brackets_change_the_opacity(page):
    page.keyboard.press("[")
    assert page.locator("#opacity-value").inner_text() == "60 %"
    page.keyboard.press("]")
    page.keyboard.press("]")
    assert page.locator("#opacity-value").inner_text() == "80 %"
    until(page, "Math.round(viewer.pane.view.overlay.opacity * 100)", 80)


def test_plus_minus_and_zero_zoom_and_arrows_with_shift_pan(page):
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert page.evaluate("viewer.pane.view.zoom") == pytest.approx(1.25**3)
    before = picture(page)
    page.keyboard.press("Shift+ArrowUp")
    assert page.evaluate("viewer.pane.view.pan[1]") > 0
    assert picture(page) != before
    page.keyboard.press("-")
    assert page.evaluate("viewer.pane.view.zoom") == pytest.approx(1.25**2)
    page.keyboard.press("0")
    assert page.evaluate("[viewer.pane.view.zoom, ...viewer.pane.view.pan]") == [1, 0, 0]


def test_question_mark_shows_every_key_and_escape_closes(page):
    page.keyboard.press("?")
    text = page.locator("#help").inner_text()
    for key in ("↑ ↓", "PgUp PgDn", "Home End", "1 – 4", "w", "o", "m", "l", "[ ]", "+ − 0", "n p", "s", "v", "?"):
        assert key in text
    before = shown(page)
    page.keyboard.press("ArrowUp")  # keys apply to the dialogue while it is open
    assert shown(page) == before
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.keyboard.press("?")
    page.keyboard.press("?")
    assert not page.locator("#help").is_visible()


def test_keys_in_input_fields_do_not_control_the_viewer(page):
    before = shown(page)
    page.locator("#centre").fill("-500")
    page.locator("#centre").press("ArrowUp")
    assert shown(page) == before
    assert page.locator("#image .tr").inner_text().split() == ["Custom", "C", "−490", "W", "1600"]


def test_all_controls_are_reached_by_the_tab_key(page):
    wanted = {
        "image",
        "slider",
        "up",
        "down",
        "map",
        "show",
        "outline",
        "opacity",
        "centre",
        "width",
        "help-open",
        "system",
        "sections",
    }
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert wanted <= reached


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (1024, 768), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(width, height, scheme, address, study, opened):
    for one in (address, study[0]):
        page = opened(one, viewport={"width": width, "height": height}, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        hidden = """[...document.querySelectorAll('aside td, aside th, aside label, aside input, header *')].filter(
          e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + .5).length"""
        assert page.evaluate(hidden) == 0
        box = page.locator("#image").bounding_box()
        assert min(box["width"], box["height"]) >= 350


def test_the_picture_follows_the_size_of_the_window(page):
    for width, height in ((700, 600), (390, 844), (1600, 1000)):
        page.set_viewport_size({"width": width, "height": height})
        until(page, "viewer.pane.view.canvas.width === document.getElementById('image').clientWidth")
        assert any(picture(page))
        middle = page.evaluate("viewer.pane.view.at(viewer.pane.view.width / 2, viewer.pane.view.height / 2)")
        assert middle == {"row": 32, "column": 32}
