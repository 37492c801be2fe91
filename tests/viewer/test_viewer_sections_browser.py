"""The viewer in a real browser: sections along the other axes. Skipped without Chromium."""

import pytest
from browser_support import until
from viewer_support import SLICES

pytestmark = pytest.mark.slow


@pytest.fixture
def sectioned(page):
    """The page with its sections, after v was pressed."""
    page.keyboard.press("v")
    until(page, "viewer.sections.both.every((one) => one.view.plane)")
    return page


def place(page) -> list[int]:
    """Column, row and slice of the crosshair."""
    return page.evaluate("[...viewer.pane.view.cross, viewer.pane.at]")


def test_v_shows_sections_with_a_crosshair_and_hides_them(sectioned):
    assert sectioned.locator("#coronal").is_visible()
    assert sectioned.locator("#sections").get_attribute("aria-pressed") == "true"
    assert place(sectioned)[:2] == [32, 32]
    sectioned.keyboard.press("v")
    assert not sectioned.locator("#coronal").is_visible()
    assert sectioned.evaluate("viewer.pane.view.cross") is None


def test_sections_have_the_aspect_and_the_sides_of_the_patient(sectioned):
    scan = sectioned.evaluate("viewer.state.scan")
    for name, marks in (("coronal", "RLHF"), ("sagittal", "APHF")):
        tall = sectioned.evaluate(f"viewer.sections.{name}.view.tall")
        assert tall == pytest.approx(scan["distance"] / scan["pixel"])
        assert sectioned.locator(f"#{name} .mark").all_inner_texts() == list(marks)
    boxes = [sectioned.locator(f"#coronal .mark-{side}").bounding_box() for side in ("left", "right", "top", "bottom")]
    assert boxes[0]["x"] < boxes[2]["x"] < boxes[1]["x"]
    assert boxes[2]["y"] < boxes[0]["y"] < boxes[3]["y"]


def test_keys_move_the_section_that_has_the_focus(sectioned):
    sectioned.evaluate("viewer.go(2)")
    until(sectioned, "viewer.pane.at", 2)
    sectioned.locator("#coronal").focus()
    for key, row in (("ArrowUp", 31), ("ArrowDown", 32), ("PageUp", 22), ("Home", 0), ("End", 63)):
        sectioned.keyboard.press(key)
        assert place(sectioned) == [32, row, 2]
    sectioned.locator("#sagittal").focus()
    for key, column in (("ArrowUp", 33), ("PageDown", 23), ("Home", 63), ("End", 0)):
        sectioned.keyboard.press(key)
        assert place(sectioned) == [column, 63, 2]
    until(sectioned, "document.getElementById('announcement').textContent", "Sagittal section 1 of 64.")
    sectioned.keyboard.press("+")
    assert sectioned.evaluate("[viewer.sections.sagittal.view.zoom, viewer.pane.view.zoom]") == [1.25, 1]
    sectioned.locator("#image").focus()
    sectioned.keyboard.press("ArrowUp")
    until(sectioned, "viewer.pane.at", 3)


def test_a_click_moves_the_crosshair_in_all_views(sectioned):
    box = sectioned.locator("#image").bounding_box()
    scale = sectioned.evaluate("viewer.pane.view.scale")
    x, y = (box[side] + box[size] / 2 + 8.5 * scale for side, size in (("x", "width"), ("y", "height")))
    sectioned.mouse.click(x, y)
    column, row, z = place(sectioned)
    assert (column, row) == (40, 40)
    until(sectioned, "viewer.sections.coronal.index", 40)
    assert sectioned.evaluate("viewer.sections.coronal.view.cross") == [40, SLICES - 1 - z]
    assert sectioned.evaluate("viewer.sections.sagittal.view.cross") == [40, SLICES - 1 - z]
    box = sectioned.locator("#sagittal").bounding_box()
    shape = sectioned.evaluate("((v) => [v.scale, v.scale * v.tall])(viewer.sections.sagittal.view)")
    x, y = (box[side] + box[size] / 2 for side, size in (("x", "width"), ("y", "height")))
    sectioned.mouse.click(x - 9.5 * shape[0], y - 2 * shape[1])
    until(sectioned, "viewer.pane.at", SLICES - 1)  # the uppermost slice
    assert place(sectioned)[:2] == [40, 22]


def test_a_section_shows_the_hounsfield_units_of_the_slices(sectioned):
    sectioned.evaluate("viewer.go(1)")
    until(sectioned, "viewer.pane.at", 1)
    values = """[viewer.sections.coronal.view.plane[(5 - 1 - 1) * 64 + 32],
      viewer.sections.sagittal.view.plane[(5 - 1 - 1) * 64 + 32], viewer.pane.view.plane[32 * 64 + 32]]"""
    assert len(set(sectioned.evaluate(values))) == 1


def test_sections_and_a_compared_scan_replace_each_other(study, opened):
    page = opened(study[0])
    page.locator("#compare").select_option(index=2)
    until(page, "viewer.second.at ?? null")
    page.keyboard.press("Escape")
    page.locator("#sections").click()
    until(page, "viewer.sections.both.every((one) => one.view.plane)")
    assert not page.locator("#second").is_visible()
    page.locator("#compare").select_option(index=2)
    until(page, "viewer.second.at ?? null")
    assert not page.locator("#coronal").is_visible()
