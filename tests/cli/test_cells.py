"""Values and commands as they are printed."""

import pytest
from command_line import ildfv

from ildfv.cli import output
from ildfv.cli.pooled_tables import best_baselines, difference_rows


@pytest.mark.parametrize(("value", "text"), [(-0.0004, "0.000"), (0.0, "0.000"), (-0.0006, "-0.001")])
def test_zero_has_no_sign(value, text):
    assert output.cell(value) == text


def difference(value, interval, outcome="does not beat it"):
    one = {"system": "fv", "measure": "honeycomb", "difference": value, "interval": interval, "outcome": outcome}
    ((_, cell),) = difference_rows([one], ["fv"], ["honeycomb"])
    return cell


def test_a_difference_that_rounds_to_zero_is_not_negative():
    assert difference(-0.0004, (-0.01, 0.0001)) == "+0.000\n-.01,+.00"


def test_a_star_marks_a_system_that_beats_the_baseline():
    assert difference(0.199, (0.111, 0.306), "yes") == "*+0.199\n+.11,+.31"


def test_a_difference_without_interval_is_one_line_and_no_difference_is_a_dash():
    assert difference(0.199, None, "undetermined: no interval") == "+0.199"
    assert difference(None, None, "undetermined: no interval") == "–"


def test_a_measure_without_difference_is_a_dash():
    assert difference_rows([], ["fv"], ["honeycomb"]) == [["fv", "–"]]


def test_each_best_baseline_is_named_once():
    pairs = {"ground glass": "histogram", "honeycomb": "haa", "emphysema": "histogram", "mean_auc": "mean-density"}
    against = [{"measure": measure, "baseline": f"baseline-{name}"} for measure, name in pairs.items()]
    assert best_baselines(against) == "histogram (ground glass, emphysema), haa (honeycomb), mean-density (mean)"


def test_the_next_command_quotes_a_path_with_spaces(tmp_path):
    result = ildfv("phantom", tmp_path / "my scans", "--patients", "1", "--slices", "3", "--workers", "1")
    assert result.returncode == 0, result.stderr
    assert f"ildfv prepare '{tmp_path / 'my scans'}'" in result.stdout
