"""The caption of a printed prediction consists of sentences and states what decides."""

import pytest

from ildfv.cli.prediction_tables import print_answer


def test_notes_are_separated_by_full_stops(capsys):
    answer = {
        "scan": "scan-1",
        "slices": 4,
        "predictor": {"data": "phantom"},
        "notes": ["pixels of 0.7 mm resampled to 0.8 mm", "noise of 11 HU reduced to 10 HU"],
        "reliability": ["The scan is within the range."],
        "heads": {"cnn": {"scan": {}, "performance": "Not compared."}},
    }
    print_answer(answer)
    shown = " ".join(capsys.readouterr().out.split())
    assert "resampled to 0.8 mm. Noise of 11 HU reduced to 10 HU. The scan is within the range. Not compared." in shown


@pytest.mark.parametrize(
    ("pooling", "what"),
    [("max", "the highest score of a slice"), ("noisy-or", "the scores of all slices")],
)
def test_a_head_of_labels_of_scans_states_what_decides(capsys, pooling, what):
    row = {"present": True, "slices": 1, "probability": None, "highest_probability": None}
    row |= {"area_cm2_present_slices": None, "look_first_at_slices": [0], "pooling": pooling}
    answer = {
        "scan": "scan-1",
        "slices": 4,
        "predictor": {"data": "phantom"},
        "notes": [],
        "reliability": [],
        "heads": {"fv": {"scan": {"emphysema": row}, "performance": "Not compared."}},
    }
    print_answer(answer)
    shown = " ".join(capsys.readouterr().out.split())
    assert f'This head was fitted to labels of scans: "present" depends on {what};' in shown
