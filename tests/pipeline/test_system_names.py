"""The name of a system states every choice of `regress` that is not the default, and `export` finds it by its name."""

import numpy as np
import pytest
from test_baselines import make

from ildfv.errors import InputError
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.system_names import Choices
from ildfv.pipeline.systems import chosen, on_fold
from ildfv.store.models import load_info

VARIANTS = {
    "fv-filters": {},
    "fv-filters-penalty-0.5": {"ridge": "0.50"},
    "fv-filters-step": {"target": "step"},
    "fv-filters-ridge": {"head": "ridge"},
    "fv-filters-ridge-counts": {"head": "ridge", "target": "counts"},
    "fv-filters-ridge-density-off": {"head": "ridge", "density": "off"},
    "fv-filters-logistic-density-off": {"head": "logistic", "density": "off"},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A workspace with one encoding and a regression for each of `VARIANTS`, and their results by system."""
    workspace = make(tmp_path_factory.mktemp("names") / "study")
    encode_slices(workspace.root, EncodeSettings(layer="filters", components=2, dimensions=4, passes=1))
    results = {name: regress_encoding(workspace.root, **given) for name, given in VARIANTS.items()}
    return workspace, results


def test_systems_with_different_choices_have_different_names_and_results(study):
    workspace, results = study
    assert [one.system for one in results.values()] == list(VARIANTS)
    stored = workspace.results()
    scores = []
    for name, one in results.items():
        assert stored[f"{name}-fold-0"].settings["regress"] == one.settings["regress"]
        scores.append(read_scores(workspace, f"{name}-fold-0", one.scores_sha256)[1])
    for number, one in enumerate(scores):
        assert not any(np.allclose(one, other) for other in scores[:number])


def test_heads_are_selected_by_kind_or_by_kind_with_choices(study):
    workspace, _ = study

    def names(*heads):
        return [one.name for one in chosen(workspace, ["filters"], "slice", heads, 0)]

    assert sorted(names()) == sorted(VARIANTS)
    assert names("ridge") == ["fv-filters-ridge"]
    assert names("ridge-density-off") == ["fv-filters-ridge-density-off"]
    assert names("linear-penalty-0.5", "linear") == ["fv-filters-penalty-0.5", "fv-filters"]
    assert names("logistic") == ["fv-filters-logistic-density-off"]  # the default is not fitted
    with pytest.raises(InputError, match=r"ridge-fraction regression, got linear, .*: run `ildfv regress --layer"):
        names("ridge-fraction")


def test_the_command_of_a_system_states_its_choices(study):
    workspace, _ = study
    found = {one.name: one for one in chosen(workspace, ["filters"], "slice", (), 0)}
    assert found["fv-filters"].how == "ildfv regress --layer filters --fold 0"
    assert found["fv-filters-ridge-counts"].how == "ildfv regress --layer filters --head ridge --target counts --fold 0"
    assert found["fv-filters-penalty-0.5"].how == "ildfv regress --layer filters --ridge 0.50 --fold 0"
    off = found["fv-filters-logistic-density-off"]
    assert off.how == "ildfv regress --layer filters --head logistic --density off --fold 0"
    with pytest.raises(InputError, match=r"fitted logistic-density-off regression, got none: run .* --density off"):
        on_fold(workspace, off, 1)


def test_export_takes_the_scored_model_of_each_system(study, tmp_path):
    workspace, _ = study
    info = export_predictor(workspace.root, tmp_path / "one", layer="filters", head=["ridge-density-off"])
    (head,) = info.heads
    assert head.name == "fv-filters-ridge-density-off"
    assert head.inputs == []
    assert head.target == "step"
    info = export_predictor(workspace.root, tmp_path / "all", layer="filters")
    assert sorted(one.name for one in info.heads) == sorted(VARIANTS)


def test_names_are_read_from_the_metadata_of_a_regression(study):
    workspace, _ = study
    for name in VARIANTS:
        folder = workspace.encoding_dir("filters", 0) / f"regression{name.removeprefix('fv-filters')}"
        assert f"fv-filters{Choices.recorded(load_info(folder)['regress']).suffix}" == name


def test_labels_contain_every_choice_and_penalties_are_exact():
    assert Choices("logistic", bags="max").label == "logistic-max"
    assert Choices("linear", target="ramp").label == "linear-ramp"
    assert Choices("linear", "counts", penalty="1e3").suffix == "-penalty-1000"
    assert Choices("linear", "counts", penalty="1000.0004").suffix == "-penalty-1000.0004"
