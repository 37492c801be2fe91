"""What a prediction imports: start-up is a large part of the time of one scan."""

import subprocess
import sys

import pytest

SLOW_TO_IMPORT = ("sklearn", "pandas", "scipy.stats")  # together about as long as scoring a hundred slices


@pytest.mark.parametrize("module", ["ildfv.inference.predict", "ildfv.inference.inbox"])
def test_prediction_does_not_import_scikit_learn(module):
    code = f"import sys, {module}; print([name for name in {SLOW_TO_IMPORT} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
