"""Every hash of a workspace, checked."""

from __future__ import annotations

from pathlib import Path

from ildfv.store.models import TENSORS, verify_model
from ildfv.store.parts import MANIFEST, Parts
from ildfv.store.workspace import Workspace


def verify_workspace(root: Path) -> dict:
    """{"checked": number of files, "faults": one line for each that is missing or damaged}."""
    workspace = Workspace.open(root)
    checked, faults = 0, []
    folders: list = [manifest.parent for manifest in sorted(workspace.root.rglob(MANIFEST))]
    if workspace.settings.slices is not None:
        folders.append(workspace.settings.slices)
    for folder in folders:
        parts = Parts(folder)
        checked += len(parts)
        faults += parts.verify()
    for model in sorted(workspace.root.rglob(TENSORS)):
        checked += 1
        faults += verify_model(model.parent)
    return {"workspace": str(workspace.root), "checked": checked, "faults": faults}
