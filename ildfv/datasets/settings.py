"""The settings for finding and preparing scans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ildfv.datasets.duplicates import REMEDY
from ildfv.datasets.identity import LISTED
from ildfv.scans.grey import Grey
from ildfv.scans.labels import Codes
from ildfv.scans.preparation import PLAIN, Preparation


@dataclass(frozen=True)
class ScanSettings:
    """The settings for finding and preparing scans.

    Parameters
    ----------
    codes : Codes, optional
        Meanings of label codes and names of structures. Without it, `prepare` does not read label maps.
    table : path, optional
        CSV table of the scans, their label maps and patients (`datasets.table`), which replaces the search.
    layout : str, optional
        A published set whose folders determine scans, label maps and patients (`datasets.set_layouts`), like a table.
    packed : bool
        Whether a search reads DICOM files that are compressed with gzip or lack the preamble; if not, they are
        quarantined. Files in a table are always read.
    unlabelled_is_negative : bool
        Whether slices with lung but without a labelled voxel count as slices without patterns. By default, they are
        unlabelled.
    resample : bool
        Whether to accept scans that are tilted up to 30° or unevenly spaced, and to resample them and their label maps
        (`scans.resample`). Other scans are not changed.
    patient_from : {"id", "folder", "study"}
        Identity of the patient of a DICOM series: PatientID, first folder on the path below the input, or
        StudyInstanceUID. The latter two are for data in which PatientIDs were removed or replaced by one value.
    grey : Grey, optional
        The HU of grey levels. If given, only images (PNG, JPEG, TIFF) are read.
    patients : mapping, optional
        The patient by path of a file or scan, or by series. These patients replace `patient_from`. A scan that is not
        listed is quarantined.
    pixel_counts : bool
        Whether the CSV file of labels has pixel counts. The report then states which scans are not 512×512, as it does
        for label maps, because a threshold in pixels has another meaning on their slices.
    lung_masks : path, optional
        Folder of lung masks (`datasets.lung_masks`), used instead of the built-in rule.
    hu : bool
        Whether to store the slices also in HU, 100 KB each. Layers without a network then use HU instead of 8-bit
        windows.
    preparation : Preparation
        Options that make scans of different scanners comparable (`scans.preparation`).
    """

    codes: Codes | None = None
    table: Path | None = None
    layout: str | None = None
    packed: bool = False
    unlabelled_is_negative: bool = False
    resample: bool = False
    patient_from: str = "id"
    grey: Grey | None = None
    patients: Mapping[Path | str, str] | None = None
    pixel_counts: bool = False
    lung_masks: Path | None = None
    hu: bool = False
    preparation: Preparation = PLAIN

    @property
    def patient_source(self) -> str:
        """`patient_from`, or `LISTED` if `patients` replaces it."""
        return self.patient_from if self.patients is None else LISTED

    @property
    def same_patient(self) -> str:
        """The remedy in messages on duplicates: the way to give two scans the same patient with these settings."""
        if self.layout is not None:
            return f"list both with the same patient in --table instead of --layout {self.layout}"
        if self.table is not None:
            return "give both the same patient in the column patient of --table"
        if self.patients is not None:
            return "give both the same patient in the column patient of --labels"
        if self.grey is not None:
            return "give both the same patient in a column patient of --labels"
        return REMEDY


DEFAULTS = ScanSettings()
