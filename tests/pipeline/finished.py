"""A finished workspace, and `ildfv` commands on it, for tests of faults."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import small  # noqa: F401  registers the small network
from command_line import ildfv

HERE = Path(__file__).parent


ENCODE = ("encode", "--layer", "conv1", "-k", 2, "--dimensions", 10, "--passes", 2)


def command(root, *arguments, before=(), **options) -> subprocess.CompletedProcess:
    """Runs `ildfv …` on the workspace, in a separate process if the process is limited or mounts something."""
    if not before and not options:
        return ildfv(*arguments, "--workspace", root)
    line = [*before, sys.executable, HERE / "command.py", *arguments, "--workspace", root]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*map(str, line)], capture_output=True, text=True, env=environment, **options)


def assert_refused(ended: subprocess.CompletedProcess, *words: str) -> None:
    """Checks for exit code 1, nothing on stdout and, after the progress, one line of error with all these words."""
    assert ended.returncode == 1, ended.stderr[-2000:]
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr, ended.stderr[-2000:]
    *_, last = ended.stderr.strip().splitlines()
    assert last.startswith("error: "), ended.stderr[-2000:]
    for word in words:
        assert word in last


def hashes(root: Path) -> dict[Path, str]:
    kept = (".h5", ".safetensors", ".json")
    files = [path for path in root.rglob("*") if path.suffix in kept]
    return {path.relative_to(root): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
