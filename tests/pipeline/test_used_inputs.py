"""The report of `fit` on the inputs of each head."""

from types import SimpleNamespace

from ildfv.patterns import PATTERNS
from ildfv.pipeline.used_inputs import described, used_inputs


def results(fold, emphysema, *, system="fv-a", encode=None, penalty=1.0):
    """The record of `regress --head` for one fold whose only labelled pattern is emphysema."""
    penalties = [penalty if pattern == "emphysema" else None for pattern in PATTERNS]
    used = dict.fromkeys(PATTERNS, "projections") | {"emphysema": emphysema}
    encode = encode or {"filters": {"layer": "filters", "hounsfield": True}, "lite-block5": {"layer": "lite-block5"}}
    return SimpleNamespace(
        system=system, fold=fold, settings={"regress": {"used": used, "penalties": penalties}, "encode": encode}
    )


def test_folds_are_counted_by_the_inputs_they_use():
    found = used_inputs([results(0, "projections"), results(1, "densities"), results(2, "densities")])
    assert found["fv-a"]["used"] == {"emphysema": {"densities": 2, "projections": 1}}
    line = "filters from HU; lite-block5 from 8-bit windows; emphysema: densities (2 folds), projections (1 fold)"
    assert described(found["fv-a"]) == line


def test_a_single_encoding_is_named_by_its_layer():
    assert used_inputs([results(0, "projections", encode={"layer": "patches"})])["fv-a"]["layers"] == {
        "patches": "8-bit windows"
    }


def test_a_fold_with_a_constant_score_is_not_counted():
    assert used_inputs([results(0, "densities", penalty=None)])["fv-a"]["used"] == {}


def test_systems_without_a_head_are_omitted():
    linear = SimpleNamespace(system="fv-conv1", settings={"regress": {"layer": "conv1"}, "encode": {}})
    baseline = SimpleNamespace(system="baseline-p15", settings={"baseline": {"name": "p15"}})
    assert used_inputs([linear, baseline]) == {}
