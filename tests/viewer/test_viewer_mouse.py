"""The viewer in a real browser: mouse, strips, Hounsfield units and scores. Skipped without Chromium."""

import pytest
from browser_support import until
from viewer_support import SLICES

pytestmark = pytest.mark.slow


def test_the_wheel_moves_and_zooms_at_the_pointer(page):
    page.evaluate("viewer.go(2)")
    until(page, "viewer.pane.at", 2)
    box = page.locator("#image").bounding_box()
    # Wheel positions are integers, so the pointer is put into the middle of a pixel.
    pixel = page.evaluate("viewer.pane.view.scale")
    x, y = box["x"] + box["width"] / 2 + 4.5 * pixel, box["y"] + box["height"] / 2 + 3.5 * pixel
    page.mouse.move(x, y)
    page.mouse.wheel(0, -100)
    until(page, "viewer.pane.at", 3)
    page.mouse.wheel(0, 100)
    until(page, "viewer.pane.at", 2)
    place = "JSON.stringify(viewer.pane.view.at(...viewer.pane.view.pointer))"
    before = page.evaluate(place)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    until(page, "viewer.pane.view.zoom > 1.5")
    assert page.evaluate(place) == before


@pytest.mark.parametrize("tool", ["scroll", "pan", "window"])
def test_dragging_performs_the_chosen_action(tool, page):
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.evaluate("viewer.go(2)")
    until(page, "viewer.pane.at", 2)
    page.locator(f"#tools [value={tool}]").check(force=True)
    box = page.locator("#image").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y - 40, steps=8)
    page.mouse.up()
    moved = page.evaluate("viewer.pane.z !== 2")
    panned = page.evaluate("viewer.pane.view.pan[1] < 0")
    windowed = page.evaluate("viewer.state.window.id === 'custom'")
    assert [moved, panned, windowed] == [tool == name for name in ("scroll", "pan", "window")]


def test_hounsfield_units_under_the_pointer_are_those_of_the_file(page, scan):
    from ildfv.datasets.convert import read_volume
    from ildfv.datasets.discovery import discover

    hu = read_volume(discover(scan, labels=False, workers=1).scans[0]).hu
    page.evaluate("viewer.go(1)")
    until(page, "viewer.pane.at", 1)
    box = page.locator("#image").bounding_box()
    for dx, dy in ((0, 0), (-100, 20), (90, -40)):
        page.mouse.move(box["x"] + box["width"] / 2 + dx, box["y"] + box["height"] / 2 + dy)
        place = page.evaluate("viewer.pane.view.at(...viewer.pane.view.pointer)")
        text = page.locator("#image .bl").inner_text()
        assert text.split()[0].replace("−", "-") == str(hu[1, place["row"], place["column"]])
        assert "score per cm²" in text


def test_the_patients_right_is_on_the_left(page):
    marks = {name: page.locator("#image .mark", has_text=name).bounding_box() for name in "RLAP"}
    assert marks["R"]["x"] < marks["A"]["x"] < marks["L"]["x"]
    assert marks["A"]["y"] < marks["R"]["y"] < marks["P"]["y"]
    # the map is for the pattern (orange) at low columns, which are the patient's right
    page.keyboard.press("l")
    page.evaluate("viewer.pane.set({opacity: 1})")
    sides = page.evaluate("""async () => {
      for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
      const view = viewer.pane.view, canvas = view.canvas;
      const at = (column, row) => [...canvas.getContext('2d').getImageData(
        canvas.width / 2 + (column / 224 - .5) * view.scan.columns * view.scale,
        canvas.height / 2 + (row / 224 - .5) * view.scan.rows * view.scale, 1, 1).data];
      return [at(80, 80), at(150, 80)];
    }""")
    (red, _, blue, _), (red2, _, blue2, _) = sides
    assert red > blue + 50
    assert blue2 > red2 + 20


def test_a_click_on_a_strip_jumps_to_the_slice(page):
    track = page.locator(".track").nth(2)
    box = track.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 3.5 / SLICES, box["y"] + 5)
    until(page, "viewer.pane.at", 3)
    assert page.evaluate("viewer.state.pattern") == 2
    text = "document.querySelectorAll('.track')[2].getAttribute('aria-valuetext')"  # updated at most every 60 ms
    until(page, text, f"slice 4 of {SLICES}, score 3.20")
    track.press("ArrowLeft")
    until(page, "viewer.pane.at", 2)


def test_top_slices_are_links(page):
    first = page.locator("#top-list button").first
    assert first.inner_text().split() == ["slice", str(SLICES), "4.00"]
    page.evaluate("viewer.go(0)")
    first.click()
    until(page, "viewer.pane.at", SLICES - 1)


def test_scores_and_reliability_are_shown_and_announced_to_screen_readers(page):
    page.evaluate("viewer.go(3)")
    until(page, "viewer.pane.at", 3)
    cells = page.locator("#patterns tbody tr").first.locator("td").all_inner_texts()
    assert cells[:3] == ["3.00", "30 %", "yes"]
    assert "Pixel size is within the range" in page.locator("#reliability").inner_text()
    until(page, "document.getElementById('announcement').textContent.includes('Slice 4 of 5')")
    assert "ground glass: score 3.00, predicted" in page.locator("#announcement").inner_text()
    page.locator("#system").select_option("cnn")
    assert page.locator("#patterns tbody tr").first.locator("td").all_inner_texts()[:3] == ["−3.00", "–", "–"]


def test_an_address_names_its_slice(opened, address, page):
    page.evaluate("viewer.go(1)")
    until(page, "location.hash.includes('slice=2')")
    other = opened(page.url)
    until(other, "viewer.pane.at", 1)
