"""Reading single slices of DICOM files in Hounsfield units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ildfv.errors import InputError, MissingPackageError
from ildfv.scans.dicomfile import open_dicom, read_dicom
from ildfv.scans.headers import Frame
from ildfv.scans.libraries import format_error
from ildfv.scans.pixels import padding_mask, stored_values
from ildfv.scans.plain_pixels import plain_hounsfield
from ildfv.scans.volume import as_hounsfield

if TYPE_CHECKING:
    from pydicom import Dataset


class FrameReader:
    """Reads frames of files. A multi-frame file is opened only once for consecutive frames."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._dataset: Dataset | None = None

    def hounsfield(self, path: Path, frame: Frame, out: np.ndarray | None = None) -> np.ndarray:
        """One frame in HU, int16 or float32 (rows, columns).

        out: int16 (rows, columns), memory that the result may use. Raises `InputError` with the name of the file if it
        cannot be read, and `MissingPackageError` if its decoder is not installed.
        """
        try:
            if (plain := plain_hounsfield(path, frame, out)) is not None:
                return plain
            if path != self._path:
                with open_dicom(path) as file:
                    self._dataset, self._path = read_dicom(file), path
            stored = stored_values(self._dataset, frame.index)
            return as_hounsfield(stored, frame.slope, frame.intercept, padding_mask(self._dataset, stored))
        except (InputError, MissingPackageError) as error:
            raise type(error)(f"{path.name}: {error}") from error
        except Exception as error:  # the parser can raise any exception for a corrupt file
            raise InputError(f"{path.name} must be readable DICOM, got {format_error(error)}") from error
