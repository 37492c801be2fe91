"""No fitted value depends on the test fold, and only choices depend on validation slices: replacing their images and
labels changes no fitted value of any system."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import TINY, change_part, change_patients, make_tiny

from ildfv.experiments import scoring
from ildfv.experiments.context import Context
from ildfv.experiments.fitted import encoding
from ildfv.experiments.recipes import Baseline, Patches
from ildfv.experiments.results import predictions
from ildfv.experiments.scoring import scores
from ildfv.pipeline.encoders import ENCODERS
from ildfv.pipeline.regress import fit_regression
from ildfv.store.models import load_model

pytestmark = pytest.mark.slow


def patches(context: Context) -> Patches:
    """Trained long enough that the sliding window predicts a pattern somewhere."""
    one = context.patches("patches")
    return replace(one, settings=replace(one.settings, epochs=8, batch_size=8, dropout=0.0), per_slice=8)


SYSTEMS = {
    "cnn": lambda context: context.base,
    "balanced": lambda context: context.cnn("balanced", loss="balanced-l2", target="ramp"),
    "few patients": lambda context: context.cnn("few", patients=2),
    "smooth L1 in pixels": lambda context: context.regression("pixels"),
    "small set": lambda context: context.cnn("small", share=0.5),
    "patches": patches,
    "in the lung": lambda context: context.encoded("in the lung", "conv1", region="lung"),
    "thinned": lambda context: context.encoded("thinned", "conv1", descriptors=0.1),
    **{name: lambda context, name=name: context.encoded(name, "conv1", encoder=name) for name in ENCODERS},
}

NETWORK = ("models/", "/mean", "/std", "history")
VECTORS = ("pca/components", "pca/mean", "regression/coef", "regression: ridge", "/validation")
# Values that each system must store: the comparison covers only values that are stored.
FITTED = {
    "cnn": NETWORK,
    "balanced": (*NETWORK, "pattern_weights"),
    "few patients": NETWORK,
    "smooth L1 in pixels": NETWORK,
    "small set": NETWORK,
    "patches": NETWORK,
    "in the lung": ("mixture/means", "mixture/variances", "mixture/weights", *VECTORS),
    "thinned": ("mixture/means", "mixture/variances", "mixture/weights", *VECTORS),
    **{name: VECTORS for name in ENCODERS},
    **{name: ("mixture/means", "mixture/variances", "mixture/weights", *VECTORS) for name in ("fisher", "pyramid")},
    **{name: ("codebook/centres", "codebook/scale", *VECTORS) for name in ("words", "vlad")},
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return Context(make_tiny(tmp_path_factory.mktemp("one") / "workspace").root, replace(TINY, run=1), device="cpu")


def changed(folder, part):
    """A context whose slices differ from the original's in one part of fold 0 only."""
    workspace = make_tiny(folder / "workspace")
    change_part(workspace, 0, part)
    return Context(workspace.root, replace(TINY, run=1), device="cpu")


@pytest.fixture(scope="module")
def contexts(original, tmp_path_factory):
    return [original, changed(tmp_path_factory.mktemp("test"), "test")]


@pytest.fixture(scope="module")
def other_validation(original, tmp_path_factory):
    return [original, changed(tmp_path_factory.mktemp("validation"), "validation")]


@pytest.fixture(scope="module")
def other_small_validation(original, tmp_path_factory):
    """The small set has other validation patients than the fold, whose validation patients may be fit patients here."""
    workspace = make_tiny(tmp_path_factory.mktemp("small") / "workspace")
    change_patients(workspace, set(original.slices.patients[original.split(0, share=0.5).validation]))
    return [original, Context(workspace.root, replace(TINY, run=1), device="cpu")]


INPUTS = ("identity", "inputs", "slices")  # metadata with hashes of the inputs of a model, which differ


def fitted(context: Context, system) -> dict:
    """Everything fitted that the system stored, without its scores of test slices: tensors, metadata of models (β,
    ridge penalty, validation history), thresholds and sigmoids."""
    scores(context, system, 0)
    found = {}
    for folder in sorted(context.folder.glob(f"*/{system.folder}/fold-0")):
        for file in sorted(folder.rglob("model.safetensors")):
            tensors, info = load_model(file.parent)
            place = file.parent.relative_to(context.folder)
            found |= {f"{place}/{name}": value for name, value in tensors.items() if name != "test"}
            found |= {f"{place}: {name}": value for name, value in info.items() if name not in INPUTS}
    return found | {"decisions": predictions(context, system)[0].decisions}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "patches" else n for n in SYSTEMS])
def test_test_slices_change_nothing_that_is_fitted(contexts, name):
    system = SYSTEMS[name]
    one, other = (fitted(context, system(context)) for context in contexts)
    assert one.keys() == other.keys()
    for what in FITTED[name]:
        assert any(what in place for place in one), what
    for place, value in one.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other[place], err_msg=place)
        else:
            assert value == other[place], place
    a, b = (scores(context, system(context), 0).test for context in contexts)
    assert not np.array_equal(a, b)  # otherwise the change has no effect and the test shows nothing


CHOSEN = ("decisions", "history", "/validation", "/regression")  # values that may depend on validation slices


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "patches" else n for n in SYSTEMS])
def test_validation_slices_change_choices_and_nothing_that_is_fitted(request, name):
    other_validation = request.getfixturevalue("other_small_validation" if name == "small set" else "other_validation")
    system = SYSTEMS[name]
    one, other = (fitted(context, system(context)) for context in other_validation)
    compared = [place for place in one if not any(what in place for what in CHOSEN)]
    for what in FITTED[name]:
        if not any(chosen in f"/{what}" for chosen in CHOSEN):
            assert any(what in place for place in compared), what
    for place in compared:
        if isinstance(one[place], np.ndarray):
            np.testing.assert_array_equal(one[place], other[place], err_msg=place)
        else:
            assert one[place] == other[place], place
    if name in ENCODERS:  # the penalty depends on validation slices; with a given penalty the regression does not
        options = {"threshold": 6000, "ridge": 1.0}
        models = [
            fit_regression(encoding(context, system(context), 0), context.slices, context.split(0), **options).model
            for context in other_validation
        ]
        np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
        np.testing.assert_array_equal(models[0].intercept_, models[1].intercept_)
    a, b = (scores(context, system(context), 0).validation for context in other_validation)
    assert not np.array_equal(a, b)  # otherwise the change has no effect and the test shows nothing


@pytest.mark.parametrize("part", ["contexts", "other_validation"])
def test_baselines_are_fitted_on_the_fit_patients(request, part, monkeypatch):
    one, other = request.getfixturevalue(part)
    assert one.slices.series.tolist() == other.slices.series.tolist()
    values = np.random.default_rng(0).normal(size=(len(one.slices), 1))
    values[::7] = np.nan  # slices without lung
    monkeypatch.setattr(scoring, "features", lambda context: {"p15": values})
    system = Baseline("p15", 6000, seed=0)
    found, same = scores(one, system, 0), scores(other, system, 0)
    assert np.isfinite(found.test).all()
    assert len(np.unique(found.test[:, 0])) > 1
    np.testing.assert_array_equal(found.test, same.test)
    np.testing.assert_array_equal(found.validation, same.validation)
