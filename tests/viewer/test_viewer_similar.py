"""Similar slices of other patients in the viewer."""

from typing import ClassVar

import numpy as np
import pytest
from viewer_support import client, start_of

from ildfv.errors import InputError
from ildfv.pipeline.encodings import FINISHED
from ildfv.pipeline.order import record
from ildfv.pipeline.workspace import Workspace
from ildfv.store.checksummed import write_checksummed
from ildfv.viewer.scan import ViewedScan
from ildfv.viewer.similar_slices import Similar, similar_of

pytest.importorskip("httpx")  # needed by the test client of Starlette
TestClient = pytest.importorskip("starlette.testclient").TestClient


class Encoded:
    """An encoding of three scans of two slices, in two dimensions."""

    layer, region, fold = "conv1", "slice", 0
    rows: ClassVar = {
        "a": np.array([[0, 0], [9, 9]], np.float32),
        "b": np.array([[8, 9], [1, 0]], np.float32),
        "c": np.array([[0, 0], [9, 9]], np.float32),
    }

    def parts(self, names=None):
        yield from ((name, self.rows[name]) for name in names or self.rows)


def test_similar_slices_are_the_nearest_of_other_patients():
    places = {"positions": np.arange(2.0), "shape": (4, 4), "pixel": 1.0, "patterns": ["p"]}
    scans = [ViewedScan(name, patient=patient, **places) for name, patient in (("a", "1"), ("b", "2"), ("c", "1"))]
    search = Similar(Encoded(), scans)
    assert search.of(0, 0)["results"] == [{"distance": 1.0, "scan": 1, "slice": 1}]
    assert search.of(0, 1)["results"] == [{"distance": 1.0, "scan": 1, "slice": 0}]
    found = [(one["scan"], one["slice"]) for one in search.of(1, 0)["results"]]
    assert found == [(0, 1)]  # one slice per patient
    with pytest.raises(InputError, match="slice must be in"):
        search.of(0, 2)


def test_a_workspace_without_encoding_has_no_similar_slices(workspace):
    with client(workspace) as one:
        assert start_of(one)["study"]["similar"] is False
        assert one.get("api/scan/0/similar/0").status_code == 404


def test_the_newest_encoding_of_the_current_slices_is_searched(workspace):
    """A newer encoding of other slices is not used."""
    root = Workspace.open(workspace)
    key = root.slices().key
    for layer, made_from in (("filters", key), ("conv1", "0" * 64)):
        path = root.encoding_dir(layer, 0) / FINISHED
        path.parent.mkdir(parents=True)
        info = {"layer": layer, "fold": 0, "folder": str(path.parent.relative_to(workspace))}
        write_checksummed(path, info | {"inputs": {"slices": made_from}})
        record(root, path)
    found, notes = similar_of(root, [], key)
    assert (found.encoding.layer, notes) == ("filters", [])
    found, notes = similar_of(root, [], "1" * 64)
    assert found is None
    assert notes == [
        "Similar slices are not available: conv1 was encoded from other slices: run "
        "`ildfv encode --layer conv1 --fold 0 --fresh`"
    ]


def test_a_damaged_encoding_is_a_note_and_the_rest_is_shown(workspace):
    folder = workspace / "encodings" / "conv1" / "fold-0"
    folder.mkdir(parents=True)
    (folder / "encoding.json").write_text("{}")
    with client(workspace) as one:
        study = start_of(one)["study"]
        assert study["similar"] is False
        assert any("Similar slices are not available" in note for note in study["notes"])
        assert one.get("api/scan/0/slice/0").status_code == 200
