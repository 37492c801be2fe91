"""Nothing that is fitted knows the test fold: other images and labels there change no fitted number, in any system."""

import numpy as np
import pytest
from tiny import TINY, change_test_fold, make_tiny

from ildfv.evaluation.thresholds import Decisions
from ildfv.experiments.encoders import ENCODERS
from ildfv.experiments.lab import Lab
from ildfv.pipeline.roles import labelled_presence
from ildfv.store.models import load_model
from ildfv.store.workspace import Workspace

SYSTEMS = {
    "cnn": lambda lab: lab.base,
    "balanced": lambda lab: lab.cnn("balanced", loss="balanced-l2", target="ramp"),
    "few patients": lambda lab: lab.cnn("few", patients=0.5),
    "patches": lambda lab: lab.patches("patches"),
    "thinned": lambda lab: lab.encoded("thinned", "conv1", descriptors=0.1),
    **{name: lambda lab, name=name: lab.encoded(name, "conv1", encoder=name) for name in ENCODERS},
}


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """Two labs whose workspaces differ in the images and labels of fold 0 only."""
    roots = [make_tiny(tmp_path_factory.mktemp(name) / "workspace").root for name in ("one", "other")]
    change_test_fold(Workspace.open(roots[1]), 0)
    return [Lab(root, TINY, device="cpu") for root in roots]


def fitted(lab: Lab, system) -> dict[str, np.ndarray]:
    """Every tensor that the system left on disk, but for its scores of test slices; its thresholds and sigmoids."""
    scores = lab.scores(system, 0)
    found = {}
    for folder in sorted(lab.folder.glob(f"*/{system.folder}/fold-0")):
        for file in sorted(folder.rglob("model.safetensors")):
            tensors, _ = load_model(file.parent)
            place = file.parent.relative_to(lab.folder)
            found |= {f"{place}/{name}": value for name, value in tensors.items() if name != "test"}
    decisions = Decisions.fit(
        labelled_presence(lab.slices, lab.roles(0).validation, system.threshold), scores.validation
    )
    found["thresholds"] = np.array([np.nan if t is None else t for t in decisions.thresholds])
    found["sigmoids"] = np.array([np.nan if s is None else s.slope for s in decisions.sigmoids])
    return found


@pytest.mark.parametrize("name", SYSTEMS)
def test_test_slices_change_nothing_that_is_fitted(labs, name):
    system = SYSTEMS[name]
    one, other = (fitted(lab, system(lab)) for lab in labs)
    assert one.keys() == other.keys()
    assert len(one) >= 4
    for place, value in one.items():
        np.testing.assert_array_equal(value, other[place], err_msg=place)
    a, b = (lab.scores(system(lab), 0).test for lab in labs)
    if name != "patches":  # after one epoch the window calls nothing anywhere
        assert not np.array_equal(a, b)  # the change was one that the system sees
