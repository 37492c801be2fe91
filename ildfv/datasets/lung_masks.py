"""Lung masks supplied by the user: one file per scan, on the grid of the scan. Every nonzero voxel is lung."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ildfv.datasets.naming import stem
from ildfv.datasets.records import Discovery, Scan, Unused
from ildfv.errors import InputError, MissingPackageError, check, explained
from ildfv.scans.dicomfile import start_of
from ildfv.scans.geometry import Geometry, difference
from ildfv.scans.images import SUFFIXES as IMAGES
from ildfv.scans.images import is_image, mask_values
from ildfv.scans.labels import label_integers
from ildfv.scans.volumefiles import SUFFIXES as VOLUMES
from ildfv.scans.volumefiles import file_geometry, format_of, read_label_file


def with_masks(found: Discovery, folder: Path, base: Path) -> None:
    """Adds to each scan of `found` its mask from `folder`. A scan without a mask is quarantined.

    The mask of `base`/a/ct.nii.gz is `folder`/a/ct with the suffix of a volume file. The mask of a DICOM series in
    `base`/a is `folder`/a or `folder`/<SeriesInstanceUID> with such a suffix. The mask of an image is an image.

    Raises `InputError` if `folder` does not exist or is in `base`.
    """
    check_folder_of_masks(folder)
    check(
        not folder.resolve().is_relative_to(base.resolve()),
        f"lung masks must be outside the folder of scans, where they would be read as scans, got {folder}: move them",
    )
    assign_masks(found, folder, base, named=True)
    found.quarantined += [
        Unused(scan.source, scan.no_mask, len(scan.files), scan.series) for scan in found.scans if scan.no_mask
    ]
    found.scans = [scan for scan in found.scans if not scan.no_mask]


def check_folder_of_masks(folder: Path) -> None:
    """Raises `InputError` unless the folder of lung masks exists."""
    check(folder.is_dir(), f"lung masks must be in a folder, got {folder}, which is not a folder")


def assign_masks(found: Discovery, folder: Path, base: Path, *, named: bool) -> None:
    """Adds to each scan of `found` its mask, named as for `with_masks`, or the reason why it has none.

    base: the folder in which the scans were found, or a file. named: whether reasons contain the names of masks.
    """
    base = base if base.is_dir() else base.parent

    def with_mask(scan: Scan) -> Scan:
        try:
            return replace(scan, mask=_mask_of(scan, folder, base, named))
        except InputError as error:
            return replace(scan, no_mask=explained(error))

    found.scans = [with_mask(scan) for scan in found.scans]


def read_lung_mask(path: Path, kind: str, grid: Geometry) -> np.ndarray:
    """The lung mask of a scan of this kind (`Scan.kind`), bool (z, y, x).

    grid: of the scan. Raises `InputError` if the mask is missing or unreadable, has another grid, or is empty.
    """
    check(path.is_file(), f"lung mask {path} must be a file, got no such file")
    try:
        if kind == "image":
            mask = mask_values(path)[None]
            check(mask.shape == grid.shape, f"must have {grid.shape[1:]} pixels, got {mask.shape[1:]}")
        else:
            mask_format = format_of(path, start_of(path))
            if mask_format is None:
                raise InputError("must be NIfTI, NRRD or MetaImage, got another kind of file")
            if wrong := difference(grid, file_geometry(path, mask_format)):
                raise InputError(wrong)
            mask = label_integers(read_label_file(path, mask_format)) != 0
        check(bool(mask.any()), "must mark lung, got only zeros")
    except (InputError, MissingPackageError) as error:
        raise InputError(f"lung mask {path.name} {error}") from error
    return mask


def _mask_of(scan: Scan, folder: Path, base: Path, named: bool) -> Path:
    """The file of the scan's mask. Raises `InputError` if there is none, or there are several."""
    if scan.dicom is not None:
        home = scan.source if scan.source.is_dir() else scan.source.parent / stem(scan.source.name)
        names = [home.relative_to(base).as_posix(), scan.series]
    else:
        inside = scan.source.relative_to(base)
        names = [(inside.parent / (inside.stem if is_image(inside) else stem(inside.name))).as_posix()]
    suffixes = IMAGES if scan.kind == "image" else VOLUMES
    here = [
        path for name in names if name != "." for suffix in suffixes if (path := folder / f"{name}{suffix}").is_file()
    ]
    found = sorted(set(here))
    expected = " or ".join(name for name in names if name != ".") if named else "like the scan"
    check(len(found) > 0, f"a scan must have a lung mask, got none named {expected} in {folder}: add it")
    several = ", ".join(path.name for path in found) if named else len(found)
    check(len(found) == 1, f"a scan must have one lung mask, got {several}: keep one")
    return found[0]
