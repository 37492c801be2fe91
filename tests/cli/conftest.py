"""A workspace of slices that show nothing."""

import numpy as np
import pytest

from ildfv.datasets.slice_store import ScanSlices, write_scan
from ildfv.pipeline.workspace import Workspace
from ildfv.store.parts import writing_parts


@pytest.fixture
def small_workspace(tmp_path):
    """A function that creates a workspace of one-slice scans; each argument states whether a scan has a label map."""

    def make(*labelled: bool):
        workspace = Workspace.open_or_create(tmp_path / "w", version="test")
        with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
            for number, has_labels in enumerate(labelled):
                scan = ScanSlices(
                    images=np.zeros((1, 3, 224, 224), np.uint8),
                    labels=np.zeros((1, 224, 224), np.uint8),
                    counts=np.full((1, 4), 0 if has_labels else -1),
                    lung=np.full(1, 60000),
                    positions=np.zeros(1),
                    patient=f"{number:016x}",
                    series=f"{number + 100:016x}",
                    labelled=has_labels,
                    pixel_area=0.5,
                )
                parts.add(write_scan(workspace.slices_dir, scan))
        return workspace.root

    return make
