"""DICOM CT series: slices sorted by position, checked, and read as one volume in Hounsfield units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ildfv.counted import counted
from ildfv.errors import InputError
from ildfv.scans.acquisitions import Acquisition, acquisitions
from ildfv.scans.copies import without_copies
from ildfv.scans.evengrid import even_grid, normal_of
from ildfv.scans.frames import FrameReader
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, MAX_TILT, Geometry, to_canonical
from ildfv.scans.headers import Frame, Header
from ildfv.scans.technique import Technique, technique_of
from ildfv.scans.volume import Volume, canonical_volume, check_size


@dataclass(frozen=True)
class Series:
    """A CT series with consistent headers: frames in ascending order along the slice normal, and their grid."""

    frames: tuple[tuple[Path, Frame], ...]
    grid: Geometry  # axes: slices, rows, columns, as stored
    patient: str  # PatientID, or "" with a `patient_fault`
    series: str  # SeriesInstanceUID
    study: str  # StudyInstanceUID of the first file by path; "" if absent
    frame_of_reference: str = ""  # FrameOfReferenceUID of the first file by path; "" if absent
    acquisition: str = ""  # `Acquisition.name`; "" if the SeriesInstanceUID has only one acquisition
    patient_fault: str = ""  # why the PatientID cannot be used
    unnamed: int = 0  # number of files without a SOPInstanceUID
    instances: frozenset[str] = frozenset()  # SOPInstanceUIDs, and checksums of the files without one

    @property
    def geometry(self) -> Geometry:
        """The grid in canonical order (`geometry.to_canonical`)."""
        return to_canonical(self.grid, MAX_RESAMPLED_TILT)[2]

    @property
    def technique(self) -> Technique:
        """Section thickness, convolution kernel and manufacturer, from the headers."""
        return technique_of([frame for _, frame in self.frames])

    @property
    def missing(self) -> tuple[str, ...]:
        """Tags of position, orientation and thickness that are absent; () unless the series has only one slice."""
        thickness = () if self.grid.thickness_known else ("SliceThickness",)
        return (*self.frames[0][1].missing, *thickness)

    @property
    def files(self) -> list[Path]:
        return sorted({path for path, _ in self.frames})


def separate(headers: Sequence[Header]) -> tuple[list[Acquisition], list[Path]]:
    """The acquisitions in files that share a SeriesInstanceUID, and the paths of files that are copies of others.

    Raises `InputError` if a file has a `problem`, if a file of a series of several slices has `missing` tags, if files
    that share a SOPInstanceUID differ, or if slices at one position cannot be read to compare them.
    """
    bad = [header for header in headers if header.problem]
    if bad:
        n = len(bad) - 1
        more = f" (the series has {counted(n, 'more file')} with a fault)" if n else ""
        raise InputError(f"{bad[0].path.name}: {bad[0].problem}{more}")
    kept, copies = without_copies(headers)
    frames = [(header.path.name, frame) for header in kept for frame in header.frames]
    for name, frame in frames:
        if frame.missing and len(frames) > 1:
            missing = " and ".join(frame.missing)
            raise InputError(f"{name}: {missing} must be present in a series of several slices, got none")
    return acquisitions(kept), copies


def assemble(headers: Sequence[Header]) -> Series:
    """The series of these files, which must share a SeriesInstanceUID and be one acquisition.

    Raises `InputError` if they are several acquisitions, and the errors of `separate` and `assemble_acquisition`.
    """
    separated, _ = separate(headers)
    if len(separated) > 1:
        names = "; ".join(acquisition.name for acquisition in separated[:3])
        raise InputError(
            f"a series must be one acquisition, got {len(separated)} at interleaved or equal positions: {names}",
            faq="series-split",
        )
    return assemble_acquisition(separated[0])


def assemble_acquisition(acquisition: Acquisition, *, resample: bool = False) -> Series:
    """One acquisition as a series.

    resample: whether to accept tilted and unevenly spaced slices, which `scans.resample` can resample. Raises
    `InputError` if PatientID, size, orientation or spacing differ between files, or if the grid is too large, not
    axial or, without `resample`, tilted or unevenly spaced.
    """
    headers = acquisition.headers
    for what in ("patient", "rows", "columns"):
        # The message lists file names instead of values, because a PatientID identifies a person.
        file_of = {getattr(header, what): header.path.name for header in reversed(headers)}
        if len(file_of) > 1:
            name = "PatientID" if what == "patient" else what
            files = ", ".join(sorted(file_of.values())[:3])
            raise InputError(
                f"{name} must be the same in all slices of a series, got {len(file_of)} values, in {files}"
            )
    frames = [(header.path, frame) for header in headers for frame in header.frames]
    normal = normal_of(frames[0][1])
    frames.sort(key=lambda item: float(np.dot(item[1].position, normal)))
    first = headers[0]
    check_size((len(frames), first.rows, first.columns))
    named = [(path.name, frame) for path, frame in frames]
    grid = even_grid(named, first.rows, first.columns, accept_uneven=resample)
    if to_canonical(grid, MAX_RESAMPLED_TILT if resample else MAX_TILT)[0][0] != 0:
        raise InputError("a DICOM series must be axial, got a coronal or sagittal reformat: use the axial series")
    return Series(
        tuple(frames),
        grid,
        first.patient,
        first.series,
        first.study,
        first.frame_of_reference,
        acquisition.name,
        next((header.patient_fault for header in headers if header.patient_fault), ""),
        sum(header.unnamed for header in headers),
        frozenset(header.instance for header in headers),
    )


def read_series(series: Series) -> Volume:
    """The series as a volume.

    Raises `InputError` with the name of the first file that cannot be read, or if the values cannot be HU of a chest.
    """
    volume = np.empty(series.grid.shape, np.int16)
    reader = FrameReader()
    for z, (path, frame) in enumerate(series.frames):
        hu = reader.hounsfield(path, frame, volume[z] if volume.dtype == np.int16 else None)
        if hu.shape != series.grid.shape[1:]:
            raise InputError(f"{path.name} must have shape {series.grid.shape[1:]}, got {hu.shape}")
        if hu.dtype.kind == "f" and volume.dtype.kind == "i":
            volume = volume.astype(np.float32)
        if hu.base is not volume:
            volume[z] = hu
    source = series.frames[0][0].parent
    found = canonical_volume(volume, series.grid, series.patient, series.series, source, max_tilt=MAX_RESAMPLED_TILT)
    return replace(found, technique=series.technique)
