"""`ildfv …` in the process of the test: an interpreter that imports torch takes longer than most commands."""

import io
import os
import signal
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from unittest.mock import patch

from ildfv.cli import main


def ildfv(*arguments, cwd=None, env=None) -> subprocess.CompletedProcess:
    """Exit code and output of `ildfv ARGUMENTS`, as if it had been run in a process of its own.

    A test of the process as a whole (signals, closed streams, resource limits) needs a separate process.
    """
    line = ["ildfv", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with (
            chdir(cwd or "."),
            patch.dict(os.environ, env or {}),
            patch.object(sys, "argv", line),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            main()
    except SystemExit as ended:
        code = ended.code
    finally:
        signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess(line, code, out.getvalue(), err.getvalue())
