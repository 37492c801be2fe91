"""Writers of small synthetic scans: a chest of 64×64 pixels as DICOM, NIfTI or NRRD."""

from pathlib import Path

import nibabel
import nrrd
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

SPACING = (5.0, 4.0, 4.0)  # mm, z, y, x
ORIGIN = (-128.0, -120.0, -300.0)  # mm, x, y, z


class ScanFiles:
    """Writers of scans and label maps. Arrays are in canonical order (z, y, x), files in the order of their format."""

    spacing, origin = SPACING, ORIGIN

    @staticmethod
    def chest(m: int = 6, seed: int = 0) -> np.ndarray:
        """HU, int16 (m, 64, 64): air, a body, two lungs, with slightly different values in each voxel and slice."""
        y, x = np.mgrid[:64, :64]
        hu = np.full((m, 64, 64), -1000.0)
        hu[:, ((x - 32) / 29) ** 2 + ((y - 32) / 22) ** 2 < 1] = 40
        for centre, tilt in ((19, 1), (46, -1)):
            hu[:, ((x - centre) / 9) ** 2 + ((y - 31 - tilt) / 14) ** 2 < 1] = -850
        noise = np.random.default_rng(seed).normal(0, 15, hu.shape)
        return np.maximum(np.round(hu + noise + 3 * np.arange(m)[:, None, None]), -1024).astype(np.int16)

    @staticmethod
    def codes(hu: np.ndarray) -> np.ndarray:
        """Phantom codes, uint8: left lung half ground glass and half emphysema, right lung healthy, rest outside."""
        codes = np.zeros(hu.shape, np.uint8)
        lung = hu < -600
        codes[:, 15:48, 8:30], codes[:, 15:30, 35:58], codes[:, 30:48, 35:58] = 1, 2, 5
        codes[~lung] = 0
        return codes

    @staticmethod
    def slice_dataset(stored: np.ndarray, position=ORIGIN, *, series: str, patient: str = "P-1", **tags) -> Dataset:
        """One CT slice with every tag that the reader needs; `tags` replaces some, None removes one."""
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, series[:60] + ".1"
        dataset.FrameOfReferenceUID = series[:60] + ".2"
        dataset.PatientID, dataset.Modality, dataset.ImageType = patient, "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex = "", "", ""
        dataset.StudyID, dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "", "", "", ""
        dataset.ReferringPhysicianName, dataset.SeriesNumber, dataset.InstanceNumber = "", 1, 1
        dataset.Manufacturer = ""
        dataset.ImagePositionPatient = [f"{value:.4f}" for value in position]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [SPACING[1], SPACING[2]], SPACING[0]
        dataset.Rows, dataset.Columns = stored.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
        dataset.PixelData = stored.tobytes()
        for name, value in tags.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)
        return dataset

    @classmethod
    def series(cls, folder: Path, hu: np.ndarray, *, series: str | None = None, change=None, **tags) -> list[Path]:
        """A CT series, one file per slice, in random name order; `change(z, dataset)` edits a slice, None omits it."""
        folder.mkdir(parents=True, exist_ok=True)
        series = series or generate_uid()
        names = np.random.default_rng(1).permutation(len(hu))
        paths = []
        for z, slice_ in enumerate(hu):
            position = (cls.origin[0], cls.origin[1], cls.origin[2] + z * cls.spacing[0])
            dataset = cls.slice_dataset((slice_ + 1024).astype(np.int16), position, series=series, **tags)
            if change is not None:
                dataset = change(z, dataset)
            if dataset is not None:
                path = folder / f"slice{names[z]:03d}.dcm"
                dataset.save_as(path, enforce_file_format=True)
                paths.append(path)
        return paths

    @classmethod
    def affine(cls) -> np.ndarray:
        """The affine of the series above for NIfTI, from voxel (x, y, z) to RAS mm."""
        affine = np.diag([-cls.spacing[2], -cls.spacing[1], cls.spacing[0], 1.0])
        affine[:3, 3] = -cls.origin[0], -cls.origin[1], cls.origin[2]
        return affine

    @classmethod
    def nifti(cls, path: Path, volume: np.ndarray, *, affine=None, **header) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(
            np.ascontiguousarray(volume.transpose(2, 1, 0)), affine if affine is not None else cls.affine()
        )
        image.header.set_xyzt_units("mm")
        nibabel.save(image, path)
        if header:  # nibabel would overwrite the codes, so the file is changed afterwards
            raw = bytearray(path.read_bytes())
            changed = nibabel.Nifti1Header(bytes(raw[:348]), check=False)
            for name, value in header.items():
                changed[name] = value
            raw[:348] = changed.binaryblock
            path.write_bytes(raw)
        return path

    @classmethod
    def nrrd(cls, path: Path, volume: np.ndarray, **fields) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {
            "space": "left-posterior-superior",
            "space directions": np.diag(cls.spacing[::-1]),
            "space origin": np.array(cls.origin),
            "encoding": "gzip",
        }
        nrrd.write(str(path), np.ascontiguousarray(volume.transpose(2, 1, 0)), header | fields)
        return path

    @classmethod
    def seg(cls, path: Path, folder: Path, codes: np.ndarray, names: dict[int, str], **tags) -> Path:
        """A binary DICOM SEG of the series in `folder`: one segment for each code in `names`, on all slices.

        codes: (z, y, x), slices in the order of their position along z; `tags` replaces some, None removes one.
        """
        slices = sorted(
            (dcmread(file) for file in folder.iterdir()), key=lambda one: float(one.ImagePositionPatient[2])
        )
        seg = cls.slice_dataset(np.zeros((1, 1), np.uint16), series=generate_uid(), patient=slices[0].PatientID)
        seg.SOPClassUID, seg.Modality, seg.SegmentationType = SegmentationStorage, "SEG", "BINARY"
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
            delattr(seg, name)
        seg.StudyInstanceUID, seg.FrameOfReferenceUID = slices[0].StudyInstanceUID, slices[0].FrameOfReferenceUID
        seg.Rows, seg.Columns, seg.NumberOfFrames = *codes.shape[1:], len(codes) * len(names)
        seg.BitsAllocated, seg.BitsStored, seg.HighBit, seg.PixelRepresentation = 1, 1, 0, 0
        referenced, shared, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
        referenced.SeriesInstanceUID = slices[0].SeriesInstanceUID
        orientation.ImageOrientationPatient = slices[0].ImageOrientationPatient
        measures.PixelSpacing, measures.SliceThickness = slices[0].PixelSpacing, slices[0].SliceThickness
        shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
        seg.ReferencedSeriesSequence, seg.SharedFunctionalGroupsSequence = [referenced], [shared]
        segments, frames = [], []
        for number, name in enumerate(names.values(), 1):
            segment = Dataset()
            segment.SegmentNumber, segment.SegmentLabel = number, name
            segments.append(segment)
            for slice_ in slices:
                frame, place, which = Dataset(), Dataset(), Dataset()
                place.ImagePositionPatient, which.ReferencedSegmentNumber = slice_.ImagePositionPatient, number
                frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [place], [which]
                frames.append(frame)
        seg.SegmentSequence, seg.PerFrameFunctionalGroupsSequence = segments, frames
        seg.PixelData = pack_bits(np.concatenate([codes == code for code in names]).astype(np.uint8).ravel())
        for name, value in tags.items():
            if value is None:
                delattr(seg, name)
            else:
                setattr(seg, name, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        seg.save_as(path, enforce_file_format=True)
        return path

    @classmethod
    def contours(
        cls, path: Path, folder: Path, structures: dict, *, reference: bool = True, kind: str = "CLOSED_PLANAR"
    ) -> Path:
        """An RT Structure Set of the series in `folder`. structures: contours (n, 3) in mm by name."""
        slice_ = dcmread(sorted(folder.iterdir())[0])
        dataset = cls.slice_dataset(np.zeros((1, 1), np.int16), series=generate_uid(), patient=slice_.PatientID)
        for name in ("PixelData", "Rows", "Columns", "ImagePositionPatient"):
            delattr(dataset, name)
        dataset.SOPClassUID, dataset.Modality = RTStructureSetStorage, "RTSTRUCT"
        dataset.FrameOfReferenceUID = slice_.FrameOfReferenceUID
        if reference:
            frame, study, series = Dataset(), Dataset(), Dataset()
            series.SeriesInstanceUID = slice_.SeriesInstanceUID
            study.RTReferencedSeriesSequence, frame.FrameOfReferenceUID = [series], slice_.FrameOfReferenceUID
            frame.RTReferencedStudySequence, dataset.ReferencedFrameOfReferenceSequence = [study], [frame]
        dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
        for number, (name, contours) in enumerate(structures.items(), 1):
            described, drawn = Dataset(), Dataset()
            described.ROINumber, described.ROIName, drawn.ReferencedROINumber = number, name, number
            drawn.ContourSequence = []
            for points in contours:
                contour = Dataset()
                contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
                contour.ContourData = [f"{value:.3f}" for value in np.ravel(points)]
                drawn.ContourSequence.append(contour)
            dataset.StructureSetROISequence.append(described)
            dataset.ROIContourSequence.append(drawn)
        dataset.save_as(path, enforce_file_format=True)
        return path

    @classmethod
    def box(cls, z: float, rows: tuple[int, int], columns: tuple[int, int], shift: float = 0.0) -> np.ndarray:
        """Corners in mm (4, 3) of a rectangle around the centres of these rows and columns of slice z."""
        (dz, dy, dx), (x0, y0, z0) = cls.spacing, cls.origin
        (top, bottom), (left, right) = ((a - 0.5 + shift, b - 0.5 - shift) for a, b in (rows, columns))
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return np.array([(x0 + dx * x, y0 + dy * y, z0 + dz * z) for x, y in corners])
