"""The caption of a printed prediction consists of sentences."""

from ildfv.cli.prediction import _print_answer


def test_notes_are_separated_by_full_stops(capsys):
    answer = {
        "scan": "scan-1",
        "slices": 4,
        "predictor": {"data": "phantom"},
        "notes": ["pixels of 0.7 mm resampled to 0.8 mm", "noise of 11 HU reduced to 10 HU"],
        "reliability": ["The scan is within the range."],
        "heads": {"cnn": {"scan": {}, "performance": "Not compared."}},
    }
    _print_answer(answer)
    shown = " ".join(capsys.readouterr().out.split())
    assert "resampled to 0.8 mm. noise of 11 HU reduced to 10 HU. The scan is within the range. Not compared." in shown
