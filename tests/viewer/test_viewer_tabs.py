"""The viewer in a real browser: a server that ends, tabs, tokens, several scans. Skipped without Chromium."""

import json
import signal

import pytest
from browser_support import picture, serve, until
from viewer_support import SLICES

pytestmark = pytest.mark.slow


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
    out, err = server.communicate(timeout=300)
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


def test_filters_list_scans_and_n_goes_to_their_slices(scans, tmp_path, opened):
    from ildfv.pipeline.prepare import prepare_scans

    prepare_scans(scans, tmp_path / "w", workers=1, threshold=100)
    server, address = serve(tmp_path / "w")
    page = opened(address)
    assert page.locator("#list .scan").count() == 2
    page.locator("#f-pattern").select_option(label="honeycomb")
    assert page.locator("#found").inner_text() == "0 of 2 scans, 0 slices"
    page.locator("#f-pattern").select_option(label="emphysema")
    page.locator("#f-outcome").select_option("present")
    assert page.locator("#found").inner_text() == f"2 of 2 scans, {2 * SLICES} slices"
    page.locator("#list .scan").first.click()
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
    assert not page.locator("#scans").is_visible()
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
