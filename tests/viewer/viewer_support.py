"""A scan, a prediction of it and a workspace for the viewer's tests, small and written without a network."""

import json
import re
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
from preparing import in_this_process
from scan_files import ScanFiles

from ildfv.datasets.discovery import discover
from ildfv.inference.pseudonym import pseudonym
from ildfv.patterns import PATTERNS
from ildfv.pipeline.prepare import prepare_scans
from ildfv.viewer.study import open_study

TOKEN, HOST = "secret-token", "127.0.0.1:8000"
SLICES = 5


def make_scans(folder: Path) -> Path:
    """Two DICOM series of five slices of 64×64 pixels, each with a label map."""
    for number in (1, 2):
        patient = folder / f"patient-000{number}"
        hu = ScanFiles.chest(SLICES, seed=number)
        ScanFiles.series(patient / "ct", hu, series=f"1.2.3.{number}", patient=f"PHANTOM-{number}")
        ScanFiles.nifti(patient / "labels.nii.gz", ScanFiles.codes(hu))
    shipped = resources.files("ildfv.scans") / "codes" / "phantom.toml"
    (folder / "codes.toml").write_text(shipped.read_text())
    return folder


def make_prediction(folder: Path, scan: Path, *, maps: bool = True) -> Path:
    """A prediction of the scan with scores that rise towards the head, thresholds between them, and maps."""
    from ildfv.inference.outputs import write_map

    found = discover(scan, labels=False, workers=1).scans[0]
    m = found.geometry.shape[0]
    folder.mkdir(parents=True)
    scores = np.arange(m)[:, None] + np.arange(4) / 10
    content = {
        "kind": "ildfv prediction",
        "version": 1,
        "scan": pseudonym(found),
        "patterns": list(PATTERNS),
        "positions_mm": [float(found.geometry.origin[2] + z * found.geometry.steps[0][2]) for z in range(m)],
        "reliability": ["Pixel size is within the range of the training slices."],
        "notes": ["A note."],
        "predictor": {"data": "phantom"},
        "contributions_head": "fv-conv1",
        "heads": {
            "fv-conv1": {
                "scan": {pattern: {"threshold": 2.0} for pattern in PATTERNS},
                "per_slice": {
                    "scores": scores.tolist(),
                    "probability": (scores / 10).tolist(),
                    "presence": (scores >= 2).tolist(),
                },
            },
            "cnn": {
                "scan": {pattern: {"threshold": None} for pattern in PATTERNS},
                "per_slice": {
                    "scores": (-scores).tolist(),
                    "probability": [[None] * 4] * m,
                    "presence": [[False] * 4] * m,
                },
            },
        },
    }
    (folder / "prediction.json").write_text(json.dumps(content))
    if maps:
        planes = np.zeros((m, 224, 224))
        # Evidence for the pattern is on the patient's right, evidence against it on the left.
        planes[:, 60:100, 60:100], planes[:, 60:100, 130:170] = 1e-3, -5e-4
        names = [
            f"{pattern.replace(' ', '-')}-{kind}.nii.gz" for pattern in PATTERNS for kind in ("contributions", "cam")
        ]
        write_map(folder / names[0], planes, found.geometry)
        for name in names[1:]:
            shutil.copy(folder / names[0], folder / name)
    return folder


def make_workspace(root: Path, scans: Path, *, labels: bool = False) -> Path:
    """The scans as a workspace; without label maps unless `labels`."""
    if not labels:
        for path in scans.glob("*/labels.nii.gz"):
            path.unlink()
        (scans / "codes.toml").unlink()
    with in_this_process():
        prepare_scans(scans, root, threshold=100, salt="0123456789abcdef")
    return root


def start_of(page) -> dict:
    """What the page contains before its first request: {"study", "number", "scan"}."""
    (text,) = re.findall(r'<script type="application/json" id="start">(.*?)</script>', page.get("").text, re.DOTALL)
    return json.loads(text)


def client(*paths: Path, **options):
    """A client that has the token and the right host."""
    from starlette.testclient import TestClient

    from ildfv.viewer.app import application

    study = open_study(list(paths), **options)
    app = application(study, TOKEN, {HOST})
    return TestClient(app, base_url=f"http://{HOST}/{TOKEN}/", raise_server_exceptions=False)
