"""Contribution maps of a workspace, computed by a predictor."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ildfv.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))

pytest.importorskip("httpx")  # which Starlette's test client needs
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoded(tmp_path_factory) -> tuple[Path, Path]:
    """A workspace with an encoding and a regression, and its predictor."""
    from small import make_workspace
    from test_regions import LUNG

    from ildfv.pipeline.encode import encode_slices
    from ildfv.pipeline.export import export_predictor
    from ildfv.pipeline.regress import regress_encoding

    root = tmp_path_factory.mktemp("study")
    workspace = make_workspace(root / "study")
    encode_slices(workspace.root, replace(LUNG, region="slice"))
    regress_encoding(workspace.root, layer="conv1")
    export_predictor(workspace.root, root / "predictor", layer="conv1")
    return workspace.root, root / "predictor"


def test_maps_of_a_workspace_add_up_to_the_score(encoded):
    from viewer_support import client

    from ildfv.inference.predictor import Predictor
    from ildfv.pipeline.workspace import Workspace

    root, folder = encoded
    predictor, slices = Predictor.load(folder), Workspace.open(root).slices()
    with client(root, predictor=folder) as one:
        scan = one.get("api/scan/0").json()
        assert [(each["kind"], each["pattern"]) for each in scan["maps"]] == [("contributions", c) for c in range(4)]
        grid = one.get("api/scan/0/map/2").json()
        assert (grid["rows"], grid["columns"], grid["step"]) == (224, 224, 1)
        found = np.frombuffer(one.get("api/scan/0/map/2/1").content, np.int8).reshape(224, 224)
    images, area = slices.images([1]), float(slices.scans("pixel_area")[0])
    exact = predictor.contributions(images, area)[0, 2]
    # int8, smoothed and limited to the 99.5th percentile: the sum is approximate
    total = found.astype(float).sum() * grid["scale"] / 127 * scan["pixel"] ** 2 / 100
    assert total == pytest.approx(exact.sum(), abs=0.03 * np.abs(exact).sum())


def test_notes_name_the_head_or_the_way_to_maps(encoded):
    from viewer_support import client, start_of

    root, folder = encoded
    with client(root, predictor=folder) as one:
        assert "explain the score of fv-conv1" in start_of(one)["study"]["notes"][-1]
    with client(root) as one:
        assert "`--predictor`" in start_of(one)["study"]["notes"][-1]
        assert one.get("api/scan/0").json()["maps"] == []


def test_only_the_maps_of_two_scans_stay_in_memory(encoded):
    from ildfv.pipeline.workspace import Workspace
    from ildfv.viewer.computed_maps import ComputedMaps

    root, folder = encoded
    maps = ComputedMaps(folder, Workspace.open(root).slices())
    for part in (0, 1, 2):
        maps.of(part)[0].read(0)
    assert list(maps._kept) == [1, 2]


def test_a_predictor_is_given_with_a_workspace(encoded, scan):
    from ildfv.viewer.study import open_study

    with pytest.raises(InputError, match="--predictor needs a workspace"):
        open_study([scan], predictor=encoded[1])


def test_a_folder_that_is_no_predictor_is_refused(encoded, tmp_path):
    from ildfv.viewer.study import open_study

    with pytest.raises(InputError, match="must be a predictor, but has no"):
        open_study([encoded[0]], predictor=tmp_path)
