"""How fast the viewer scrolls through a scan of 600 slices in headless Chromium, and its memory.

    python bench/bench_viewer.py [SCAN] [--prediction FOLDER] [--codes NAME] [--slices 600]

Without SCAN a phantom is drawn into a temporary folder, which takes a few minutes. The browser runs without a GPU.
A frame is a drawn slice: the page counts conversions of HU to grey values. The time of the first image is counted from
the start of the navigation, in a browser that has finished its own start-up: Chromium loads its address bar, itself a
web page, for more than a second of CPU time after the first tab opens. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

BROWSER = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
SIZE = {"width": 1400, "height": 900}

# Milliseconds from the start of the navigation until the expression holds, checked at every animation frame.
UNTIL = "async () => {{ while (!({})) await new Promise(requestAnimationFrame); return performance.now(); }}"

# One notch of the wheel per animation frame, from the lowest to the uppermost slice: the fastest scrolling by hand.
SCROLL = """async ([last]) => {
  const view = viewer.pane.view, element = document.getElementById("image");
  const frame = () => new Promise(requestAnimationFrame);
  const before = view.frames, started = performance.now();
  let longest = 0, drawn = started, seen = view.frames;
  while (viewer.pane.at !== last) {
    const notch = new WheelEvent("wheel", {deltaY: -100, bubbles: true, cancelable: true});
    if (viewer.pane.z !== last) element.dispatchEvent(notch);
    await frame();
    if (view.frames !== seen) {
      longest = Math.max(longest, performance.now() - drawn);
      [drawn, seen] = [performance.now(), view.frames];
    }
  }
  const seconds = (performance.now() - started) / 1000;
  return {slices: view.frames - before, seconds, per_second: (view.frames - before) / seconds, longest_gap_ms: longest};
}"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scan", type=Path, nargs="?")
    parser.add_argument("--prediction", type=Path)
    parser.add_argument("--codes")
    parser.add_argument("--slices", type=int, default=600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = options.scan or phantom(Path(folder), options.slices)
        paths = [scan] if options.prediction is None else [options.prediction, scan]
        codes = [] if options.codes is None else ["--codes", options.codes]
        print(json.dumps(measured([*paths, *codes]), indent=1))


def phantom(folder: Path, slices: int) -> Path:
    from ildfv.phantom import write_phantoms

    return write_phantoms(folder, patients=1, seed=3, slices_per_scan=slices, workers=1)[0] / "ct"


def measured(arguments: list) -> dict:
    """Seconds, frames per second and MB of one run."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "ildfv", "view", *map(str, arguments), "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        document = ""
        while not document.rstrip().endswith("}"):
            document += server.stdout.readline() or fail(server)
        address = json.loads(document)["address"]
        found = {"load_average": os.getloadavg()[0], "server_start_s": time.perf_counter() - started}
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=[*BROWSER])
            browser.new_page(viewport=SIZE).goto("about:blank")
            wait_for_idle_browser()  # the time that the browser takes to start is not counted
            page = browser.new_page(viewport=SIZE)
            found |= scrolled(page, address, server.pid)
            found["server_mb"], found["server_peak_mb"] = status(server.pid, "VmRSS"), status(server.pid, "VmHWM")
            found["page_mb"] = max(private(pid) for pid, line in browser_processes() if b"--type=renderer" in line)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    return found


def wait_for_idle_browser(*, quiet: float = 0.5, patience: float = 30.0) -> None:
    """Returns when the browser has used less than 5 % of a core for `quiet` seconds, or after `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = cpu([pid for pid, _ in browser_processes()])
        time.sleep(quiet)
        if cpu([pid for pid, _ in browser_processes()]) - before < 0.05 * quiet:
            return
    print(f"the browser was still busy after {patience:g} s", file=sys.stderr)


def fail(server: subprocess.Popen) -> str:
    raise SystemExit(f"the viewer exited with code {server.wait()}")


def scrolled(page: Page, address: str, server: int) -> dict:
    page.goto(address, wait_until="commit")
    first = page.evaluate(UNTIL.format("globalThis.viewer?.pane?.view.frames > 0")) / 1000
    last = page.evaluate("viewer.state.scan.slices - 1")
    if page.evaluate("viewer.state.scan.maps.length"):
        page.evaluate(UNTIL.format("viewer.pane.map"))
    page.evaluate("viewer.go(0)")
    page.evaluate(UNTIL.format("viewer.pane.at === 0"))
    before = cpu([server]), cpu([pid for pid, _ in browser_processes()])
    once = page.evaluate(SCROLL, [last])
    after = cpu([server]), cpu([pid for pid, _ in browser_processes()])
    # On a busy machine, wall time is not meaningful; CPU time is the time on one idle core.
    for name, a, b in zip(("server", "browser"), before, after, strict=True):
        once[f"{name}_cpu_ms_per_slice"] = 1000 * (b - a) / once["slices"]
    heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    return {"first_image_s": first, "scroll": once, "javascript_heap_mb": heap}


def status(pid: int, field: str) -> float:
    """A size in /proc/<pid>/status, in MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines[field].split()[0]) / 1e3


def private(pid: int) -> float:
    """MB of a process (proportional set size), because the browser's code is shared by all its processes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def cpu(pids: list[int]) -> float:
    """Seconds of CPU that the processes have used."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def browser_processes() -> list[tuple[int, bytes]]:
    """Process and command line of the browser that this process started."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # ended in the meantime
            continue

    def is_ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and is_ours(parents[pid]))

    return [(pid, line) for pid, line in lines.items() if b"chrom" in line.split(b"\0")[0] and is_ours(pid)]


if __name__ == "__main__":
    main()
