"""The part of one prepared scan: its arrays, and the function that writes them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ildfv.errors import InputError
from ildfv.patterns import PATTERNS, UNLABELLED
from ildfv.scans.density import COLUMNS
from ildfv.scans.grey import Grey
from ildfv.scans.preparation import PLAIN, Preparation
from ildfv.scans.technique import UNKNOWN, Technique
from ildfv.scans.windows import GRID, NORMAL
from ildfv.store.parts import Row, write_part

SIZE = 224  # side of a windowed slice, the input of the paper's networks
# Newest format of a part. Parts of format 1, which have no attribute `format`, lack numbers of healthy pixels. Format 2
# has these numbers, 3 also has lung masks or HU, and 4 has `preparation`, the options that changed the HU of the scan.
# Parts of all formats may have the attributes of `Technique`, which earlier versions ignore.
FORMAT = 4


@dataclass(frozen=True)
class ScanSlices:
    """The m slices of one prepared scan."""

    images: np.ndarray  # uint8 (m, 3, 224, 224): low, normal and high attenuation window
    labels: np.ndarray  # uint8 (m, 224, 224): 0, or pattern index + 1; for outlines and the evaluation of maps
    counts: np.ndarray  # int32 (m, 4): pixels of each pattern on the scan's own grid; −1 without labels
    lung: np.ndarray  # int32 (m,): lung pixels on the scan's own grid
    positions: np.ndarray  # float32 (m,): mm along the slice normal, ascending
    patient: str  # 16 hex digits: a salted hash
    series: str  # 16 hex digits: a salted hash
    labelled: bool  # whether any slice has labels
    pixel_area: float  # mm² of one pixel on the scan's own grid
    phantom: bool = False  # whether the patient is a phantom, which reports must state
    healthy: np.ndarray | None = None  # int32 (m,): number of pixels labelled healthy; None or −1: unknown
    resampled: str = ""  # description of the resampling, if the scan was tilted or unevenly spaced (`scans.resample`)
    preparation: Preparation = PLAIN  # options that changed the HU
    changes: str = ""  # the values that these options measured in the scan
    lung_masks: np.ndarray | None = None  # bool (m, 224, 224): lung, if it is not from the built-in rule
    hu: np.ndarray | None = None  # int16 (m, 224, 224): `scans.hounsfield`, 100 KB per slice; only with prepare --hu
    grey: Grey | None = None  # settings with which an image was read; None for scans in HU
    given_masks: bool = False  # whether the lung masks are the user's
    density: np.ndarray | None = None  # float32 (m, 36): `scans.density`; None: unknown, as in parts of format 1
    technique: Technique = UNKNOWN  # the known values are attributes
    grid: int = GRID  # the larger of the numbers of rows and columns of the scan's own grid

    def __post_init__(self):
        m = len(self.images)
        shapes = {
            "images": (m, 3, SIZE, SIZE),
            "labels": (m, SIZE, SIZE),
            "counts": (m, len(PATTERNS)),
            "lung": (m,),
            "positions": (m,),
        }
        if self.healthy is not None:
            shapes["healthy"] = (m,)
        if self.density is not None:
            shapes["density"] = (m, len(COLUMNS))
        if self.lung_masks is not None:
            shapes["lung_masks"] = (m, SIZE, SIZE)
        if self.hu is not None:
            shapes["hu"] = (m, SIZE, SIZE)
        for name, shape in shapes.items():
            if (found := getattr(self, name).shape) != shape:
                raise InputError(f"{name} must have shape {shape}, got {found}")
        if m == 0:
            raise InputError("a scan must have at least one slice, got 0")


def write_scan(folder: Path, scan: ScanSlices, *, key: str = "", checksums: bool = True) -> Row:
    """Writes the part of a scan, named after the series, and returns its manifest row.

    The function may be called in worker processes. checksums: whether to store `image_checksums`, which parts of
    earlier versions lack.
    """
    arrays: dict[str, np.ndarray] = {
        "images": np.asarray(scan.images, np.uint8),
        "labels": np.asarray(scan.labels, np.uint8),
        "counts": np.asarray(scan.counts, np.int32),
        "lung": np.asarray(scan.lung, np.int32),
        "positions": np.asarray(scan.positions, np.float32),
        "healthy": np.full(len(scan.lung), UNLABELLED) if scan.healthy is None else scan.healthy,
    }
    arrays["healthy"] = np.asarray(arrays["healthy"], np.int32)
    if checksums:
        arrays["checksums"] = image_checksums(arrays["images"])
    if scan.density is not None:
        arrays["density"] = np.asarray(scan.density, np.float32)
    if scan.lung_masks is not None:
        arrays["lung_masks"] = np.packbits(np.asarray(scan.lung_masks, bool).reshape(len(scan.lung), -1), axis=1)
    if scan.hu is not None:
        arrays["hu"] = np.asarray(scan.hu, np.int16)
    plain = scan.lung_masks is None and scan.hu is None
    attributes: dict[str, Any] = {
        "patient": scan.patient,
        "series": scan.series,
        "labelled": bool(scan.labelled),
        "pixel_area": float(scan.pixel_area),
        "phantom": bool(scan.phantom),
        # Parts without these options can be read by earlier versions.
        "format": FORMAT if not scan.preparation.is_default else 2 if plain else 3,
    }
    if not scan.preparation.is_default:
        attributes["preparation"] = scan.preparation.to_text()
        attributes["changes"] = scan.changes
    if scan.grey is not None:
        attributes["grey"] = [scan.grey.low, scan.grey.high, scan.grey.field]
    if scan.given_masks:
        attributes["given_masks"] = True
    if scan.grid != GRID:
        attributes["grid"] = int(scan.grid)
    if scan.resampled:
        attributes["resampled"] = scan.resampled
    attributes |= {name: value for name, value in asdict(scan.technique).items() if value not in (None, "")}
    return write_part(folder, scan.series, arrays, attributes, key=key, order=_content(scan))


def image_checksums(images: np.ndarray) -> np.ndarray:
    """The CRC-32 of each slice's images, uint32 (m,). `find_duplicates` compares images only if these are equal."""
    return np.array([zlib.crc32(one.tobytes()) for one in images], np.uint32)


def _content(scan: ScanSlices) -> str:
    """A digest of the scan's content, by which scans are sorted.

    The names of parts depend on the workspace's salt. If scans were sorted by name, two workspaces of the same scans
    would give different results, because stepwise EM and training depend on the order of the slices. Labels are not
    part of the digest, so the order does not change when scans are labelled again.
    """
    digest = hashlib.sha256(np.asarray(scan.positions, np.float32).tobytes())
    digest.update(np.asarray(scan.lung, np.int32).tobytes())
    digest.update(np.asarray(scan.images[:, NORMAL], np.uint8).tobytes())
    return digest.hexdigest()[:16]


def stored_technique(attributes: Mapping) -> Technique:
    """The technique in the attributes of a part; unknown in parts of earlier versions."""
    thickness, air = (float(attributes[name]) if name in attributes else None for name in ("thickness", "air"))
    kernel, manufacturer = (attributes.get(name, b"").decode() for name in ("kernel", "manufacturer"))
    return Technique(thickness, kernel, manufacturer, air)
