"""The viewer in a real browser: keys, overlays, resizing, a server that ends, two tabs, a wrong token.

Skipped without Chromium.
"""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from viewer_support import SLICES

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]
BROWSER = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PATIENCE = 60  # seconds to wait for the page


def serve(*arguments) -> tuple[subprocess.Popen, str]:
    """The process of a viewer and its address."""
    command = [sys.executable, "-m", "ildfv", "view", *map(str, arguments), "--json"]
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore SIGINT
    )
    document = ""
    while not document.rstrip().endswith("}"):
        line = server.stdout.readline()
        assert line, server.stderr.read()
        document += line
    return server, json.loads(document)["address"]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=BROWSER)
        yield one
        one.close()


@pytest.fixture(scope="module")
def address(prediction, scan):
    server, address = serve(prediction, scan, "--codes", "phantom")
    yield address
    server.terminate()
    assert server.wait(30) == 0


@pytest.fixture
def study(workspace):
    server, address = serve(workspace)
    yield address, workspace
    server.terminate()
    server.wait(30)


@pytest.fixture
def opened(browser):
    """A function that opens an address; the page must end without an error in its console."""
    pages = []

    def open_(address, *, expected=(), **options):
        options = {"viewport": {"width": 1400, "height": 900}} | options
        page = browser.new_context(**options).new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: message.type in ("error", "warning") and problems.append(message.text))
        expected = (*expected, "willReadFrequently")  # a warning that these tests cause by reading the canvas
        pages.append((page, problems, expected))
        page.goto(address)
        until(page, "globalThis.viewer?.pane?.at ?? null")
        return page

    yield open_
    for page, problems, expected in pages:
        assert [one for one in problems if not any(text in one for text in expected)] == []
        page.context.close()


@pytest.fixture
def page(opened, address):
    one = opened(address)
    until(one, "viewer.pane.map && viewer.pane.map.planes.get(viewer.pane.z) && viewer.pane.view.overlay")
    return one


def until(page, expression, value=None):
    """Waits until a JavaScript expression is true, or equals `value`. The page's policy forbids wait_for_function."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = page.evaluate(f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()")
        if (found is not None and found is not False) if value is None else found == value:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{expression} is {found!r} after {PATIENCE} s, expected {value!r}")


def shown(page) -> int:
    return page.evaluate("viewer.pane.at")


def picture(page) -> list[int]:
    """Red, green and blue of some pixels of the canvas, after the next frame."""
    return page.evaluate("""async () => {
      for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
      const canvas = document.querySelector('#image canvas');
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      return Array.from({length: 4000}, (_, i) => data[Math.floor(i / 3) * 1988 + i % 3]);
    }""")


def coloured(pixels) -> bool:
    return any(abs(pixels[i] - pixels[i + 2]) > 20 for i in range(0, len(pixels) - 2, 3))


# -- keys


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
    assert page.locator("#slider").input_value() == str(end)


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


# -- sections


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
    case = sectioned.evaluate("viewer.state.scan")
    for name, marks in (("coronal", "RLHF"), ("sagittal", "APHF")):
        tall = sectioned.evaluate(f"viewer.sections.{name}.view.tall")
        assert tall == pytest.approx(case["distance"] / case["pixel"])
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


# -- mouse


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


# -- sizes


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


# -- server, tabs, tokens


def test_a_server_that_ends_is_reported_and_the_slice_stays(prediction, scan, opened):
    server, address = serve(prediction, scan)
    page = opened(address, expected=["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "fetch"])
    server.send_signal(signal.SIGKILL)
    server.wait()
    until(page, "!document.getElementById('lost').hidden")
    assert "server of the viewer has stopped" in page.locator("#lost").inner_text()
    assert any(picture(page))


def test_the_server_ends_on_an_interrupt_without_an_error(scan):
    server, _ = serve(scan)
    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "Traceback" not in out + err


def test_a_wrong_token_shows_what_to_do(browser, address):
    page = browser.new_page()
    wrong = address.rstrip("/")[:-3] + "xyz/"
    assert page.goto(wrong).status == 403
    assert "address is not valid" in page.locator("body").inner_text()
    page.close()


def test_the_next_start_has_another_token_and_the_old_page_says_so(scan, opened):
    server, address = serve(scan)
    port = address.split(":")[2].split("/")[0]
    page = opened(address, expected=["403", "ERR_CONNECTION", "ERR_EMPTY", "fetch"])
    server.terminate()
    server.wait(30)
    again, other = serve(scan, "--port", port)
    assert other != address
    until(page, "document.getElementById('lost').textContent.includes('no longer valid')")
    again.terminate()
    again.wait(30)


def test_two_tabs_show_different_slices_and_the_same_corrections(study, opened):
    address, workspace = study
    one, two = opened(address), opened(address)
    one.evaluate("viewer.go(0)")
    two.evaluate("viewer.go(4)")
    until(one, "viewer.pane.at", 0)
    until(two, "viewer.pane.at", 4)
    two.evaluate("viewer.go(0)")
    until(two, "viewer.pane.at", 0)
    one.get_by_role("group", name="honeycomb").get_by_role("radio", name="absent").check(force=True)
    until(one, "document.getElementById('correct-note').textContent.includes('corrections.csv')")
    until(two, "[...document.querySelectorAll('.correct')][2].querySelectorAll('input')[1].checked")
    assert (workspace / "corrections.csv").read_text().splitlines()[1].endswith(",,,0,")
    one.get_by_role("button", name="Undo").click()
    until(two, "[...document.querySelectorAll('.correct')][2].querySelectorAll('input')[2].checked")


# -- workspaces


def test_filters_list_scans_and_n_goes_to_their_slices(scans, tmp_path, opened):
    from ildfv.pipeline.prepare import prepare_scans

    prepare_scans(scans, tmp_path / "w", workers=1, threshold=100)
    server, address = serve(tmp_path / "w")
    page = opened(address)
    assert page.locator("#list .case").count() == 2
    page.locator("#f-pattern").select_option(label="honeycomb")
    assert page.locator("#found").inner_text() == "0 of 2 scans, 0 slices"
    page.locator("#f-pattern").select_option(label="emphysema")
    page.locator("#f-outcome").select_option("present")
    assert page.locator("#found").inner_text() == f"2 of 2 scans, {2 * SLICES} slices"
    page.locator("#list .case").first.click()
    until(page, "viewer.pane.at", 0)
    page.locator("#image").focus()
    for number in range(1, SLICES):
        page.keyboard.press("n")
        until(page, "viewer.pane.at", number)
    page.keyboard.press("n")
    until(page, "viewer.state.number", 1)
    page.keyboard.press("p")
    until(page, "viewer.state.number", 0)
    page.keyboard.press("s")
    assert not page.locator("#cases").is_visible()
    server.terminate()
    server.wait(30)


def test_two_scans_scroll_together(study, opened):
    page = opened(study[0])
    page.locator("#compare").select_option(index=2)
    until(page, "viewer.second.at ?? null")
    page.evaluate("viewer.go(0)")
    until(page, "viewer.second.at", 0)
    page.evaluate("viewer.go(4)")
    until(page, "viewer.second.at", 4)
    page.locator("#synchronous").uncheck()
    page.evaluate("viewer.go(1)")
    until(page, "viewer.pane.at", 1)
    assert page.evaluate("viewer.second.at") == 4
    page.locator("#compare").select_option("")
    assert not page.locator("#second").is_visible()


def test_a_card_of_the_report_opens_its_slice(workspace, opened):
    series = json.loads((workspace / "prepare.json").read_text())["prepared"][1]["series"]
    card = f'<figure data-slice="{series}/2"><figcaption><p class="caption">a card</p></figcaption></figure>'
    (workspace / "report.html").write_text(f"<!doctype html><title>report</title><body>{card}</body>")
    server, address = serve(workspace)
    page = opened(address, expected=["403"])  # the browser asks for /favicon.ico, which has no token
    refused = []
    page.on("response", lambda answer: answer.status == 403 and refused.append(answer.url))
    page.locator("#report-link").click()
    page.get_by_role("link", name="Open in the viewer").click()
    until(page, "viewer.pane.at", 1)
    assert page.evaluate("viewer.state.scan.name") == series
    assert all(url.endswith("/favicon.ico") for url in refused)
    server.terminate()
    server.wait(30)
