"""Nothing that is fitted knows the test fold: other images and labels there change no fitted number, in any system."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import TINY, change_test_fold, make_tiny

from ildfv.experiments.context import Context
from ildfv.experiments.recipes import Patches
from ildfv.experiments.results import predictions
from ildfv.experiments.scoring import scores
from ildfv.pipeline.encoders import ENCODERS
from ildfv.pipeline.workspace import Workspace
from ildfv.store.models import load_model


def patches(context: Context) -> Patches:
    """Trained for so long that its window calls something somewhere."""
    one = context.patches("patches")
    return replace(one, settings=replace(one.settings, epochs=8, batch_size=8, dropout=0.0), per_slice=8)


SYSTEMS = {
    "cnn": lambda context: context.base,
    "balanced": lambda context: context.cnn("balanced", loss="balanced-l2", target="ramp"),
    "few patients": lambda context: context.cnn("few", patients=2),
    "smooth L1 in pixels": lambda context: context.regression("pixels"),
    "small set": lambda context: context.cnn("small", share=0.5),
    "patches": patches,
    "thinned": lambda context: context.encoded("thinned", "conv1", descriptors=0.1),
    **{name: lambda context, name=name: context.encoded(name, "conv1", encoder=name) for name in ENCODERS},
}

NETWORK = ("models/", "/mean", "/std", "history")
VECTORS = ("pca/components", "pca/mean", "regression/coef", "regression: ridge", "/validation")
# What must be among the fitted values: a system that stopped leaving it on disk would be compared in vain.
FITTED = {
    "cnn": NETWORK,
    "balanced": (*NETWORK, "pattern_weights"),
    "few patients": NETWORK,
    "smooth L1 in pixels": NETWORK,
    "small set": NETWORK,
    "patches": NETWORK,
    "thinned": ("mixture/means", "mixture/variances", "mixture/weights", *VECTORS),
    **{name: VECTORS for name in ENCODERS},
    **{name: ("mixture/means", "mixture/variances", "mixture/weights", *VECTORS) for name in ("fisher", "pyramid")},
    **{name: ("codebook/centres", "codebook/scale", *VECTORS) for name in ("words", "vlad")},
}


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """Two contexts whose workspaces differ in the images and labels of fold 0 only."""
    roots = [make_tiny(tmp_path_factory.mktemp(name) / "workspace").root for name in ("one", "other")]
    change_test_fold(Workspace.open(roots[1]), 0)
    return [Context(root, replace(TINY, run=1), device="cpu") for root in roots]


INPUTS = ("identity", "inputs", "slices")  # of a model's information: what it was made of, hashes of files


def fitted(context: Context, system) -> dict:
    """All that the system left on disk but its scores of test slices: tensors, and what models tell of themselves (β,
    ridge penalty, history of validation); its thresholds and sigmoids."""
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
    assert not np.array_equal(a, b)  # the change was one that the system sees
