"""The table that `ildfv predict` prints for a scan."""

from ildfv.cli.prediction_tables import print_answer

ROW = {"present": True, "slices": 3, "highest_probability": 0.9, "area_cm2_present_slices": 12.4}


def test_the_reason_for_a_missing_probability_is_stated(capsys):
    scan = {
        "emphysema": {**ROW, "probability": None, "no_probability": "too few scans", "look_first_at_slices": [4]},
        "honeycomb": {**ROW, "probability": 0.75, "look_first_at_slices": [1, 2]},
    }
    head = {"scan": scan, "performance": "AUC 0.9."}
    answer = {"scan": "scan-1", "slices": 6, "heads": {"ridge": head}, "notes": [], "reliability": []}
    print_answer({**answer, "predictor": {"data": "phantom"}})
    printed = " ".join(capsys.readouterr().out.split())
    assert "The scan has no probability of emphysema: too few scans." in printed
    scan["emphysema"] |= {"probability": 0.25, "no_probability": None}
    print_answer({**answer, "predictor": {"data": "phantom"}})
    assert "no probability" not in capsys.readouterr().out
