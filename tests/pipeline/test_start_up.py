"""Start-up of the commands, which is a large part of their time for a small set."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from finished import ENCODE
from threadpoolctl import threadpool_info

from ildfv.pipeline.regress import regress_encoding

SLOW_TO_IMPORT = ("sklearn", "pandas", "scipy.stats", "scipy.optimize")  # together a second


def test_encode_and_regress_do_not_import_scikit_learn(root):
    code = f"""
import sys
import small
from ildfv.cli.app import app
for line in {[[*ENCODE], ["regress"]]!r}:
    app([*line, "-w", {str(root)!r}], standalone_mode=False)
print([name for name in {SLOW_TO_IMPORT} if name in sys.modules])
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_equations_of_regress_are_solved_by_one_thread(encoded, monkeypatch):
    """While other programs run, two BLAS threads took 5 to 12 s of CPU time, and a minute, instead of 2 s."""
    threads = []
    eigh = np.linalg.eigh

    def spied(matrix):
        threads.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return eigh(matrix)

    monkeypatch.setattr(np.linalg, "eigh", spied)
    regress_encoding(encoded)
    assert set(threads) == {1}
