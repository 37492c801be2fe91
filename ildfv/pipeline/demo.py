"""The whole path on phantoms, from nothing to the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.report import make_report
from ildfv.pipeline.roles import load_folds, make_split
from ildfv.pipeline.train import train_network
from ildfv.progress import SILENT, Progress
from ildfv.store.workspace import Workspace

SALT = "phantoms have no identity to hide"  # so that two demos of one seed agree to the last byte


def run_demo(
    folder: Path,
    *,
    patients: int = 30,
    seed: int = 0,
    layers: tuple[str, ...] = ("conv1", "conv5"),
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict:
    """{"report": path, "results": documents, "seconds": wall time of each step}.

    Scans, slices, models and encodings that are there are not made again; scores and the report are.
    """
    from ildfv.scans.phantom import write_phantoms

    folder = Path(folder)
    scans, root = folder / "scans", folder / "workspace"
    seconds: dict[str, float] = {}

    def step(name: str, do: Callable, *args, **options):
        started = time.monotonic()
        result = do(*args, **options, progress=progress)
        seconds[name] = time.monotonic() - started
        return result

    step("phantom", write_phantoms, scans, patients=patients, seed=seed)
    step("prepare", prepare_scans, scans, root, seed=seed, salt=SALT)
    workspace = Workspace.open(root)
    if not workspace.folds_file.exists():
        make_split(workspace)
    load_folds(workspace)
    results = [step("train", train_network, root, device=device)]
    for layer in layers:
        step(f"encode {layer}", encode_slices, root, EncodeSettings(layer=layer), device=device)
        results.append(step(f"regress {layer}", regress_encoding, root, layer=layer))
    report = make_report(root, seconds=seconds)
    return {"report": report["report"], "results": results, "seconds": seconds}
