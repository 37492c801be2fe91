"""Values and commands as they are printed."""

import pytest
from command_line import ildfv

from ildfv.cli import output
from ildfv.cli.few import _difference


@pytest.mark.parametrize(("value", "text"), [(-0.0004, "0.000"), (0.0, "0.000"), (-0.0006, "-0.001")])
def test_zero_has_no_sign(value, text):
    assert output.cell(value) == text


def test_a_difference_that_rounds_to_zero_is_not_negative():
    assert _difference(-0.0004, (-0.01, 0.0001)) == "+0.000\n-0.010 to +0.000"


def test_the_next_command_quotes_a_path_with_spaces(tmp_path):
    result = ildfv("phantom", tmp_path / "my scans", "--patients", "1", "--slices", "3", "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert f"ildfv prepare '{tmp_path / 'my scans'}'" in result.stdout
