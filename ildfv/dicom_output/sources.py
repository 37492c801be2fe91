"""The instances that a scan was read from, and the mapping from canonical volumes back to their pixels."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DA, DS, TM

from ildfv.errors import InputError
from ildfv.scans.dicom import Series
from ildfv.scans.dicomfile import open_dicom, read_dicom
from ildfv.scans.geometry import to_canonical
from ildfv.scans.headers import Frame

NEEDED = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
PLACE = ("ImagePositionPatient", "ImageOrientationPatient")  # of a single-frame file
IDENTITY = (  # present in every object, empty if unknown (type 2)
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
SEXES = ("", "M", "F", "O")
DATES = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}
PER_FRAME, SHARED, NUMBER = 0x52009230, 0x52009229, 0x00280008
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


@dataclass(frozen=True)
class Instance:
    """A slice of the source: SOP class, SOPInstanceUID, and frame number (from 1) in a multi-frame file, or None."""

    sop_class: str
    uid: str
    frame: int | None = None


@dataclass(frozen=True)
class Source:
    """The source of a scan; slices are in ascending order along the normal of the source.

    images: for each slice, the header of a single-frame image as highdicom needs it. A frame of a multi-frame file is
    described as an image with a temporary UID, which `refer` replaces. instances: the original instances. original: the
    header of the first file. order, flips: as returned by `to_canonical`.
    """

    images: list[Dataset]
    instances: list[Instance]
    original: Dataset
    order: tuple[int, ...]
    flips: tuple[int, ...]

    @classmethod
    def of(cls, series: Series) -> Source:
        """The source of a DICOM series. InputError: a UID, position or orientation that the objects need is missing."""
        headers = {}
        for path in dict.fromkeys(path for path, _ in series.frames):
            with open_dicom(path) as file:
                header = headers[path] = read_dicom(file, stop_before_pixels=True)
            for name in (*NEEDED, *(() if PER_FRAME in header else PLACE)):
                if not header.get(name):
                    raise InputError(f"{path.name} must have {name} for --dicom, got none: use --out alone")
        images: list[Dataset] = []
        instances: list[Instance] = []
        first = series.frames[0][1]
        for path, frame in series.frames:
            header = headers[path]
            several = PER_FRAME in header
            spacing = float(series.grid.spacing[0]) if series.grid.thickness_known else None
            images.append(_image(header, frame, first, len(images), spacing))
            number = frame.index + 1 if several else None
            instances.append(Instance(str(header.SOPClassUID), str(header.SOPInstanceUID), number))
        order, flips, _ = to_canonical(series.grid)
        return cls(images, instances, headers[series.frames[0][0]], order, flips)

    def stored(self, canonical: np.ndarray) -> np.ndarray:
        """A volume (slices, rows, columns) in the order of the source's slices and pixels; a view."""
        return np.transpose(np.flip(canonical, self.flips), np.argsort(self.order))

    def stored_index(self, z: int) -> int:
        """The position in `images` of slice z of a canonical volume."""
        return len(self.images) - 1 - z if 0 in self.flips else z


def refer(dataset: Dataset, source: Source) -> None:
    """Replaces references to the temporary images of frames by references to their multi-frame file, each file once."""
    pairs = zip(source.images, source.instances, strict=True)
    known = {str(image.SOPInstanceUID): instance for image, instance in pairs}
    if all(instance.frame is None for instance in source.instances):
        return
    for element in dataset:
        if element.VR != "SQ":
            continue
        kept, seen = [], set()
        for item in element.value:
            instance = known.get(str(item.get("ReferencedSOPInstanceUID", "")))
            if instance is not None:
                item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.sop_class, instance.uid
                if element.keyword == "SourceImageSequence" and "PurposeOfReferenceCodeSequence" in item:
                    item.ReferencedFrameNumber = instance.frame  # the source frame of the derived frame
                elif instance.uid in seen:
                    continue
                seen.add(instance.uid)
            refer(item, source)
            kept.append(item)
        if len(kept) < len(element.value):
            element.value = kept


def restore_identity(dataset: Dataset, original: Dataset) -> None:
    """Copies the patient and study of the source to an object, unchanged even if values are invalid.

    A PACS compares these values with the values of the source, so a corrected value would appear as another patient.
    """
    for name in (*IDENTITY, "SpecificCharacterSet"):
        if name in original:
            dataset[name] = deepcopy(original[name])


def _image(header: Dataset, frame: Frame, first: Frame, index: int, spacing: float | None) -> Dataset:
    """The header of one slice, without elements that highdicom rejects or that do not apply to a single frame.

    spacing: mm between slices, which replaces an unknown thickness; None if it is unknown too.
    """
    image = Dataset()
    image.update({tag: element for tag, element in header.items() if tag not in (*PIXELS, PER_FRAME, SHARED, NUMBER)})
    image.file_meta = header.file_meta
    replaced: dict[str, Any] = {
        name: "" for name in IDENTITY if header.get(name) is None or not _accepted(name, header[name].value)
    }
    # Orientations may differ by rounding, which highdicom rejects.
    replaced |= {"ImageOrientationPatient": _decimal(first.orientation), "PixelSpacing": _decimal(first.spacing)}
    thickness = frame.thickness or spacing
    replaced["SliceThickness"] = None if thickness is None else _decimal([thickness])[0]
    if PER_FRAME in header:
        replaced["SOPClassUID"] = CTImageStorage
        replaced["SOPInstanceUID"] = f"2.25.{index + 1}"
        replaced["ImagePositionPatient"] = _decimal(frame.position)
    for name, value in replaced.items():
        # New elements, because the copy shares its elements with the original.
        image.add(DataElement(name, dictionary_VR(name), value))
    return image


def _decimal(values) -> list:
    return [DS(float(value), auto_format=True) for value in values]


def _accepted(name: str, value) -> bool:
    if name == "PatientSex":
        return value in SEXES
    try:
        DATES.get(name, str)(value)
    except (ValueError, TypeError):
        return False
    return True
