"""Series in every orientation, and predictions with known regions, for the tests of DICOM output."""

from pathlib import Path

import numpy as np
from scan_files import ScanFiles

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.datasets.records import Scan
from ildfv.inference.prediction import HeadAnswer, Prediction
from ildfv.patterns import PATTERNS
from ildfv.scans.windows import windowed

PREDICTOR = {"checksum": "5e" * 32, "data": "phantom", "ildfv": "0", "heads": ["fv-conv1"]}


def turned(axis: int, degrees: float) -> np.ndarray:
    """A rotation about a patient axis, (3, 3)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


AXIAL = (1, 0, 0, 0, 1, 0)
TILT = turned(0, 4)
OBLIQUE = turned(2, 4) @ turned(1, -3) @ turned(0, 2)
# Directions of row and column, and the step from slice to slice in mm.
GEOMETRIES = {
    "axial": (AXIAL, (0, 0, 5)),
    "head to feet": (AXIAL, (0, 0, -5)),
    "feet first": ((-1, 0, 0, 0, 1, 0), (0, 0, -5)),
    "mirrored": ((-1, 0, 0, 0, 1, 0), (0, 0, 5)),
    "prone": ((-1, 0, 0, 0, -1, 0), (0, 0, 5)),
    "transposed": ((0, 1, 0, 1, 0, 0), (0, 0, 5)),
    "oblique": ((*OBLIQUE[:, 0], *OBLIQUE[:, 1]), tuple(OBLIQUE[:, 2] * 5)),
    "tilted gantry": ((*TILT[:, 0], *TILT[:, 1]), (0, 0, 5)),
}
SHEARED = ("tilted gantry",)


def series(folder: Path, geometry: str = "axial", m: int = 6, rows: int = 64, columns: int = 64, **tags) -> list[Path]:
    """Writes a CT series with this geometry and rows × columns pixels; file names are in random order."""
    orientation, step = GEOMETRIES[geometry]
    hu = ScanFiles.chest(m)[:, :rows, :columns]

    def place(z, dataset):
        dataset.ImageOrientationPatient = [f"{value:.7g}" for value in orientation]
        dataset.ImagePositionPatient = [f"{a + z * b:.6f}" for a, b in zip(ScanFiles.origin, step, strict=True)]
        dataset.InstanceNumber = z + 1
        return dataset

    return ScanFiles.series(folder, hu, change=place, **{"KVP": 120, "StudyID": "7"} | tags)


def scan_of(folder: Path) -> Scan:
    (scan,) = discover(folder, labels=False, workers=1).scans
    return scan


def prediction_of(scan: Scan, *, maps: bool = True, seed: int = 0, overlap: bool = True) -> Prediction:
    """A prediction with random smooth maps; without overlap, each pattern has a band of columns of its own."""
    from scipy import ndimage

    random = np.random.default_rng(seed)
    m, n = scan.geometry.shape[0], len(PATTERNS)
    planes = ndimage.gaussian_filter(random.normal(0, 1, (m, n, 224, 224)), (0, 0, 6, 6))
    if not overlap:
        for c in range(n):
            outside = np.ones(224, bool)
            outside[c * 56 + 8 : c * 56 + 48] = False  # the gap is wider than the smoothing
            planes[:, c, :, outside] = -1.0
    scores = planes.sum(axis=(2, 3)) + 0.5
    presence = random.random((m, n)) < 0.7
    presence[0], presence[1:2] = True, False
    head = HeadAnswer(
        name="fv-conv1",
        scores=scores,
        probability=np.where(random.random((m, n)) < 0.1, np.nan, random.random((m, n))),
        presence=presence,
        pixels=random.random((m, n)) * 500,
        area=random.random((m, n)) * 50,
        thresholds=[0.5, None, 1.5, 0.25],
        best=scores.argmax(axis=0),
    )
    return Prediction(
        scan="scan-0123456789",
        patterns=list(PATTERNS),
        positions=np.arange(m) * 5.0,
        lung=np.full(m, 100.0),
        heads={"fv-conv1": head},
        statements=["Pixel size is within the range of the training slices."],
        predictor=PREDICTOR,
        notes=[],
        images=windowed(read_volume(scan).hu),
        geometry=scan.geometry,
        contributions=planes if maps else None,
        contributions_head="fv-conv1" if maps else None,
    )
