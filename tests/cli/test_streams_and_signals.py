"""Full, closed and interrupted outputs give one line of error, or none, and no traceback."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("arguments", [("stats",), ("stats", "--json"), ("--help",)])
def test_a_full_or_closed_output_gives_no_traceback(arguments, small_workspace):
    root = small_workspace(True)
    line = [sys.executable, "-m", "ildfv", *arguments]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, cwd=root)
    assert (ended.returncode, ended.stderr) == (1, "error: the file system: No space left on device\n")
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=root)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_a_system_error_without_a_file_name_is_one_document():
    code = "import errno, ildfv.cli, ildfv.cli.app as module\n"
    code += "def app(standalone_mode): raise OSError(errno.EFBIG, 'File too large')\n"
    code += "module.app = app\nildfv.cli.main()"
    ended = subprocess.run([sys.executable, "-c", code, "stats", "--json"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "error: the file system: File too large\n")
    assert json.loads(ended.stdout) == {"error": "the file system: File too large"}


def test_closed_streams_give_no_traceback(small_workspace):
    root = small_workspace(True, True)
    ended = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m ildfv stats --json <&- >&-"], stderr=subprocess.PIPE, text=True, cwd=root
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_all_processes_ends_in_one_line(number, code, tmp_path):
    """Like Ctrl-C in a terminal while workers start: they print nothing and end with their parent."""
    line = [sys.executable, "-m", "ildfv", "phantom", str(tmp_path / "scans"), "--patients", "200", "--json"]
    running = subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore SIGINT
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while len(children.read_text().split()) < 2:  # multiprocessing's resource tracker and a worker
        time.sleep(0.01)
    os.killpg(running.pid, number)
    out, err = running.communicate(timeout=300)
    assert running.returncode in (code, -signal.SIGINT)  # Python's own exit code if the signal arrives during an import
    assert err == "error: interrupted: run the same command again to resume\n"
    assert json.loads(out) == {"error": "interrupted: run the same command again to resume"}
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            os.killpg(running.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("workers outlive their parent")
