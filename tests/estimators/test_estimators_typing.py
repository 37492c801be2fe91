"""The estimators' annotations: arrays of the input's type come out, and wrong arguments are rejected."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ildfv

SNIPPET = """
import numpy as np
from ildfv.estimators.fisher import FisherVector
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.pca import PCA

maps, rows = np.zeros((2, 9, 3)), np.zeros((9, 3))
reveal_type(FisherVector(GaussianMixture(2)).transform(maps))
reveal_type(PCA(2).transform(rows))
GaussianMixture("2")
GaussianMixture(2, method="fast")
FisherVector(order="x")
FisherVector().transform("maps")
PCA(0.5)
"""


@pytest.mark.slow
def test_type_checkers_see_arrays_and_reject_wrong_arguments(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "snippet.py").write_text(SNIPPET)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--follow-imports=silent", "snippet.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(Path(ildfv.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert run.stdout.count('Revealed type is "numpy.ndarray') == 2, run.stdout
    rejected = {line.split(":")[1] for line in run.stdout.splitlines() if ": error:" in line}
    assert rejected == {"10", "11", "12", "13", "14"}, run.stdout
