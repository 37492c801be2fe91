"""A viewer in a process of its own, and what its page shows in a browser."""

import json
import shutil
import signal
import subprocess
import sys
import time

CHROMIUM = shutil.which("chromium")
BROWSER = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PATIENCE = 300  # seconds to wait for the page


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
