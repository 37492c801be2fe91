"""Scans of files, with their predictions and label maps."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ildfv.counted import counted
from ildfv.datasets.discovery import discover
from ildfv.datasets.read_labels import read_labels
from ildfv.datasets.records import Scan
from ildfv.datasets.settings import ScanSettings
from ildfv.errors import check
from ildfv.inference.pseudonym import pseudonym
from ildfv.patterns import PATTERNS
from ildfv.progress import SILENT, Progress
from ildfv.scans.images import is_image
from ildfv.scans.labels import Codes, pattern_labels
from ildfv.scans.libraries import quiet
from ildfv.scans.windows import GRID
from ildfv.viewer.images import images_of
from ildfv.viewer.maps import maps_in
from ildfv.viewer.predictions import Answer
from ildfv.viewer.scan import Maps, ViewedScan

TOLERANCE = 0.01  # mm between positions of the same slice
NO_IMAGES = "The folder of a prediction contains no images of the scan. To show them, run `ildfv view PREDICTION SCAN`."
NO_CODES = "Label maps are not shown: give the table of their codes with --codes."
ARCHIVED = "it is in a zip archive; unpack the archive and view the folder"
MATCHED = (
    "The prediction was assigned to the scan by slice positions, because the file differs from the one that was "
    "predicted, for example in its compression: check that both are the same scan."
)


def _has_image(folder: Path) -> bool:
    return any(map(is_image, folder.rglob("*") if folder.is_dir() else [folder]))


class FileLabels:
    """The label maps of a scan, read as a whole at the first slice and kept compressed."""

    def __init__(self, scan: Scan, codes: Codes):
        self._scan, self._codes, self._lock = scan, codes, threading.Lock()
        self._slices: list[bytes] = []

    def read(self, z: int) -> np.ndarray:
        """The label map of slice z, uint8. InputError: a label map is damaged or has an unknown code."""
        shape = self._scan.geometry.shape
        with self._lock:
            if not self._slices:
                with quiet():
                    labels = pattern_labels(read_labels(self._scan, self._scan.geometry, self._codes))
                self._slices = [zlib.compress(slice_.tobytes(), 1) for slice_ in labels]
        return np.frombuffer(zlib.decompress(self._slices[z]), np.uint8).reshape(shape[1:])


def file_scans(
    places: Mapping[Path, Path],
    answers: Sequence[Answer],
    *,
    codes: str | None = None,
    progress: Progress = SILENT,
) -> list[ViewedScan]:
    """All scans in `places`, and the predictions whose scan was not given.

    Parameters
    ----------
    places : mapping of path to path
        From the given path to the folder with its files: the path itself, or the folder of an unpacked archive.
    answers : sequence of Answer
        The predictions, at most one per scan.
    codes : str, optional
        TOML file or shipped table of label codes; None: label maps are not read.

    Returns
    -------
    list of ViewedScan
        The scans, then the predictions whose scan was not given.

    Raises
    ------
    InputError
        A path has no usable scan, the codes are invalid, two predictions are for one scan, none of the scans belongs to
        a prediction, or the slices of a scan are not those of its prediction.
    """
    table = None if codes is None else Codes.load(codes)
    scans, archived = [], set()
    for path, place in places.items():
        found = discover(place, ScanSettings(codes=table), labels=table is not None, workers=1, progress=progress)
        reasons = [unused.reason for unused in [*found.quarantined, *found.ignored]]
        why = reasons[0] if reasons else "no file that can be read"
        check(
            bool(found.scans) or not _has_image(place),
            f"{path} must contain a CT scan in HU, a prediction or a workspace, got PNG, JPEG or TIFF images, which "
            "`ildfv view` does not show: view the workspace that `ildfv prepare --grey` made of them",
        )
        check(bool(found.scans), f"{path} must contain a CT scan, a prediction or a workspace, got none: {why}")
        scans += found.scans
        archived |= {pseudonym(scan) for scan in found.scans if place != path}
    scan_by_name = {pseudonym(scan): scan for scan in scans}
    by_name = {answer.scan: answer for answer in answers}
    check(len(by_name) == len(answers), "predictions must be for different scans, got two for one scan: omit one")
    pairs: list[tuple[Scan, Answer | None, bool]]
    pairs = [(scan, by_name.get(name), True) for name, scan in scan_by_name.items()]
    used = {answer.scan for _, answer, _ in pairs if answer is not None}
    # The pseudonym of a volume file depends on its content, which changes if the file is compressed.
    if not used and len(answers) == len(scans) == 1 and scans[0].dicom is None:
        _check_same_slices(scans[0], answers[0])
        pairs, used = [(scans[0], answers[0], False)], {answers[0].scan}
    if answers and scans:
        rule = f"a scan must belong to a prediction ({', '.join(by_name)})"
        check(bool(used), f"{rule}, got {', '.join(scan_by_name)}: give the scan that was predicted")
    viewed = [_with_images(scan, answer, table, same, pseudonym(scan) in archived) for scan, answer, same in pairs]
    return viewed + [_without_images(answer) for answer in answers if answer.scan not in used]


def _check_same_slices(scan: Scan, answer: Answer) -> None:
    positions = scan.geometry.positions
    same = len(positions) == len(answer.positions) and np.abs(positions - answer.positions).max() <= TOLERANCE
    rule = f"the scan of {answer.scan} must have the positions of its prediction, {_extent(answer.positions)}"
    check(bool(same), f"{rule}, got {_extent(positions)}: give the scan that was predicted")


def _extent(positions: np.ndarray) -> str:
    """Text such as "24 slices from -120.00 to -5.00 mm"."""
    return f"{counted(len(positions), 'slice')} from {positions[0]:.2f} to {positions[-1]:.2f} mm"


def _with_images(scan: Scan, answer: Answer | None, codes: Codes | None, same: bool, archived: bool) -> ViewedScan:
    grid = scan.geometry
    positions, pixel = grid.positions, float(grid.spacing[1])
    maps: list[Maps] = []
    if answer is not None:
        _check_same_slices(scan, answer)
        maps += maps_in(
            answer.folder, answer.patterns, (grid.shape[0], grid.shape[1], grid.shape[2]), pixel, answer.explained
        )
    notes = list(answer.notes) if answer is not None else []
    notes += [] if same else [MATCHED]
    notes += [NO_CODES] if codes is None and answer is None else []
    names = (scan.patient, "" if scan.dicom is None else scan.dicom.patient)
    return ViewedScan(
        name=pseudonym(scan),
        patterns=PATTERNS if answer is None else answer.patterns,
        positions=positions,
        shape=(grid.shape[1], grid.shape[2]),
        pixel=pixel,
        images=images_of(scan),
        systems=[] if answer is None else answer.systems,
        maps=maps,
        labels=FileLabels(scan, codes) if codes is not None and scan.labels else None,
        statements=() if answer is None else answer.statements,
        notes=notes,
        phantom=any(name.upper().startswith("PHANTOM") for name in names) or (answer is not None and answer.phantom),
        source=None if archived else Path(scan.source).resolve(),
        not_correctable=ARCHIVED if archived else "",
    )


def _without_images(answer: Answer) -> ViewedScan:
    return ViewedScan(
        name=answer.scan,
        patterns=answer.patterns,
        positions=answer.positions,
        shape=(GRID, GRID),
        pixel=1.0,
        systems=answer.systems,
        statements=answer.statements,
        notes=[NO_IMAGES, *answer.notes],
        phantom=answer.phantom,
        not_correctable="its scan was not given",
    )
