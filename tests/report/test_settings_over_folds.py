"""Settings of a system are shown once for all folds, and by fold where they differ."""

from ildfv.report.cells import over_folds


def test_equal_settings_are_shown_once_and_others_with_their_folds():
    fold = {"regress": {"head": "ridge", "penalty": 1.0}, "encode": {"fold": 0}}
    other = {"regress": {"head": "ridge", "penalty": 2.0}, "encode": {"fold": 2}}
    assert over_folds({0: fold, 1: fold, 2: other}) == {
        "regress.head": [("", "ridge")],
        "regress.penalty": [("folds 0, 1", 1.0), ("fold 2", 2.0)],
        "encode.fold": [("folds 0, 1", 0), ("fold 2", 2)],
    }


def test_a_setting_of_some_folds_only_is_kept():
    assert over_folds({0: {"layer": "conv1"}, 1: {"layer": "conv1", "epochs": 3}}) == {
        "layer": [("", "conv1")],
        "epochs": [("", 3)],
    }
