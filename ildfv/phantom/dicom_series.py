"""A phantom's slices as a DICOM CT series, and its label map as NIfTI. Equal phantoms give equal bytes."""

import gzip
import hashlib
import io
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from ildfv.phantom.patient import EASY, SIZE, Patient

DRAWING = 1  # part of every UID; increment it when the same seed gives other images

# Storage formats of scanners: (pixel representation, bits stored, rescale intercept).
STORAGE = [(0, 12, -1024), (1, 16, 0), (0, 16, -8192)]


def uid(*parts) -> UID:
    """A valid DICOM UID that depends only on `parts` (the 2.25 root takes any 128-bit integer)."""
    digest = hashlib.sha256("/".join(["ildfv phantom", str(DRAWING), *map(str, parts)]).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def heights(patient: Patient, slices: int) -> tuple[np.ndarray, float]:
    """Heights above the lung base, (slices,) mm ascending, and their spacing; they cover the whole lung."""
    spacing = round(patient.height / slices, 3)
    return (np.arange(slices) + 0.5) * spacing, spacing


def identity(patient: Patient, slices: int) -> tuple:
    """The values that distinguish this scan from all other phantoms; part of its UIDs."""
    kind = () if patient.difficulty == EASY else (patient.difficulty,)
    return (*kind, patient.seed, patient.number, slices)


def series_uid(patient: Patient, slices: int) -> UID:
    return uid(*identity(patient, slices), "series")


def origin(patient: Patient) -> tuple[float, float, float]:
    """Position of pixel (0, 0) of the plane z = 0, LPS mm."""
    x, y, z = patient.rng("origin").uniform((-8, -190, -1400), (8, -160, 100))
    corner = -(SIZE - 1) / 2 * patient.pixel
    return round(float(x) + corner, 3), round(float(y) + corner, 3), round(float(z), 3)


def dataset(patient: Patient, hu: np.ndarray, index: int, slices: int) -> FileDataset:
    """The slice as a pydicom dataset with its file meta information.

    hu: int16 (512, 512). index: 0 for the slice at the lung base. slices: number of slices of the scan.
    """
    height, spacing = heights(patient, slices)
    x, y, z = origin(patient)
    signed, bits, intercept = STORAGE[int(patient.rng("storage").integers(len(STORAGE)))]
    key = identity(patient, slices)
    kind = "" if patient.difficulty == EASY else f"{patient.difficulty.upper()}-"

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid(*key, "instance", index)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid("implementation")
    meta.ImplementationVersionName = "ILDFV_PHANTOM"

    ds = FileDataset(io.BytesIO(), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20170119"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "120000"
    ds.AccessionNumber = ""
    ds.Modality = "CT"
    ds.Manufacturer = patient.manufacturer
    ds.ManufacturerModelName = patient.model
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "PHANTOM chest"
    ds.SeriesDescription = f"PHANTOM seed {patient.seed} patient {patient.number}"
    ds.PatientName = f"PHANTOM^{patient.number:04d}"
    ds.PatientID = f"PHANTOM-{kind}{patient.seed}-{patient.number:04d}"
    ds.PatientBirthDate = ""
    ds.PatientSex = "F" if patient.female else "M"
    ds.QualityControlSubject = "YES"
    ds.SliceThickness = patient.thickness
    ds.KVP = 120
    ds.SpacingBetweenSlices = spacing
    ds.PatientPosition = "HFS"
    ds.ConvolutionKernel = patient.kernel or ("SHARP" if patient.sharp > 0.5 else "SOFT")
    if patient.exposure:
        ds.Exposure = patient.exposure
    ds.StudyInstanceUID = uid(*key, "study")
    ds.SeriesInstanceUID = series_uid(patient, slices)
    ds.StudyID = "1"
    ds.SeriesNumber = 1
    ds.AcquisitionNumber = 1
    ds.InstanceNumber = slices - index  # the scan runs from head to feet
    ds.ImagePositionPatient = [x, y, round(z + height[index], 4)]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.FrameOfReferenceUID = uid(*key, "frame")
    ds.PositionReferenceIndicator = ""
    ds.SliceLocation = round(z + height[index], 4)
    ds.ImageComments = "PHANTOM: drawn by a program, not a patient"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = ds.Columns = SIZE
    ds.PixelSpacing = [patient.pixel, patient.pixel]
    ds.BitsAllocated = 16
    ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = signed
    ds.WindowCenter, ds.WindowWidth = -600, 1500
    ds.RescaleIntercept, ds.RescaleSlope = intercept, 1
    ds.RescaleType = "HU"
    ds.PixelData = (hu.astype(np.int32) - intercept).astype("<i2" if signed else "<u2").tobytes()
    return ds


def label_map(patient: Patient, labels: np.ndarray, slices: int) -> bytes:
    """The bytes of labels.nii.gz, in the geometry of the series. labels: (slices, rows, columns) uint8, base first."""
    height, spacing = heights(patient, slices)
    x, y, z = origin(patient)
    affine = np.diag([patient.pixel, patient.pixel, spacing, 1.0])
    affine[:3, 3] = x, y, z + height[0]
    affine[:2] *= -1  # NIfTI is RAS, DICOM is LPS
    image = nibabel.Nifti1Image(np.ascontiguousarray(labels.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"PHANTOM labels"
    return gzip.compress(image.to_bytes(), compresslevel=6, mtime=0)


def recorded_series(folder: Path) -> str | None:
    """The SeriesInstanceUID of the first file in `folder`/ct, or None if there is no file."""
    first = next(iter(sorted((folder / "ct").glob("*.dcm"))), None)
    return None if first is None else str(pydicom.dcmread(first, stop_before_pixels=True).get("SeriesInstanceUID"))
