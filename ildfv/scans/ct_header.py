"""The header of a CT file: whether the file can be used, and its slices."""

from __future__ import annotations

from pathlib import Path

from ildfv.errors import InputError
from ildfv.scans.bits import check_declared
from ildfv.scans.derived import contradiction, no_slice
from ildfv.scans.header_values import functional_group, joined, numbers, required
from ildfv.scans.headers import Frame, Header
from ildfv.scans.identifiers import acquisition_of, instance_of, patient_id
from ildfv.scans.pixels import MAX_COMPRESSION_RATIO, UNCOMPRESSED
from ildfv.scans.volume import check_size

HU_TYPES = ("", "HU", "US")  # RescaleType: Hounsfield units, or unspecified (common for CT)
GROUPS = (  # functional groups in the order of the arguments of `_frame`
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)
# Values if a single-frame file lacks the tag. A scan of one slice needs no position; a CT slice is usually axial.
AXIAL = {"ImagePositionPatient": (0.0, 0.0, 0.0), "ImageOrientationPatient": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)}
RECONSTRUCTION = "CTReconstructionSequence"  # the optional group with the kernel


def ct_header(path: Path, dataset, series: str, pixel_bytes: int) -> Header:
    """The header of a CT file. Raises `InputError` if the file violates a rule. pixel_bytes: bytes after the header."""
    if not dataset.get("Modality"):
        raise InputError("Modality must be CT, got none")
    if mark := contradiction(dataset):
        raise InputError(
            f"the description of an image with ImageType ORIGINAL must be that of a slice, got {mark}: "
            "correct one of the two tags"
        )
    try:
        patient, fault = patient_id(dataset), ""
    except InputError as error:
        patient, fault = "", str(error)
    rows, columns = int(required(dataset, "Rows")), int(required(dataset, "Columns"))
    n_frames = int(dataset.get("NumberOfFrames") or 1)
    for name, allowed in (("SamplesPerPixel", 1), ("PhotometricInterpretation", "MONOCHROME2"), ("BitsAllocated", 16)):
        if (value := required(dataset, name)) != allowed:
            raise InputError(f"{name} must be {allowed}, got {value}")
    check_declared(dataset)
    _check_pixels(dataset, rows, columns, n_frames, pixel_bytes)
    instance, unnamed = instance_of(dataset, path)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if n_frames != 1:
            raise InputError(f"NumberOfFrames must be 1 without per-frame functional groups, got {n_frames}")
        frames = [_frame(0, dataset, acquisition_of(dataset), dataset, *[dataset] * len(GROUPS))]
    else:
        if len(per_frame) != n_frames:
            raise InputError(f"a file must have one functional group per frame ({n_frames}), got {len(per_frame)}")
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
        frames = [_frame_of(i, dataset, group, shared) for i, group in enumerate(per_frame)]
    study = str(dataset.get("StudyInstanceUID") or "")
    where = str(dataset.get("FrameOfReferenceUID") or "")
    return Header(
        path,
        "ct",
        series,
        instance,
        patient,
        study,
        rows,
        columns,
        tuple(frames),
        where,
        patient_fault=fault,
        unnamed=unnamed,
    )


def _frame_of(index: int, dataset, group, shared) -> Frame:
    """One frame of a multi-frame file, from its per-frame and the shared functional groups."""
    try:
        kind = (group.get("CTImageFrameTypeSequence") or shared.get("CTImageFrameTypeSequence") or [{}])[0]
        if reason := no_slice(kind):
            raise InputError(f"a frame must be a slice of a scan, got {reason}")
        content = (group.get("FrameContentSequence") or [{}])[0]
        made = (group.get(RECONSTRUCTION) or shared.get(RECONSTRUCTION) or [dataset])[0]
        groups = [functional_group(group, shared, name) for name in GROUPS]
        return _frame(index, dataset, acquisition_of(dataset, content), made, *groups)
    except InputError as error:
        raise InputError(f"frame {index + 1}: {error}") from error


def _frame(
    index: int, dataset, acquisition: tuple[str, ...], made, plane, orientation, measures, thickness, rescale
) -> Frame:
    """One slice. made … rescale: the datasets with the respective values; in a single-frame file, each is `dataset`."""
    for name in ("RescaleSlope", "RescaleIntercept"):
        if rescale.get(name) is None:  # without them, pydicom silently returns stored values
            raise InputError(f"{name} must be present: without it, stored values cannot be converted to HU")
    slope, intercept = float(rescale.get("RescaleSlope")), float(rescale.get("RescaleIntercept"))
    if not slope > 0 or slope == float("inf") or not abs(intercept) < float("inf"):
        rule = "RescaleSlope must be above 0 and finite, and RescaleIntercept finite"
        raise InputError(f"{rule}, got {slope:g} and {intercept:g}")
    if (kind := str(rescale.get("RescaleType") or "").strip().upper()) not in HU_TYPES:
        raise InputError(f"RescaleType must be HU, US or absent, got {kind}")
    is_single = plane is dataset
    missing = tuple(name for name in AXIAL if is_single and dataset.get(name) in (None, ""))
    return Frame(
        index,
        _placed(plane, "ImagePositionPatient", missing),
        _placed(orientation, "ImageOrientationPatient", missing),
        numbers(measures, "PixelSpacing", 2),
        _thickness(thickness),
        slope,
        intercept,
        acquisition,
        joined(made.get("ConvolutionKernel")),
        joined(dataset.get("Manufacturer")),
        missing,
    )


def _thickness(dataset) -> float | None:
    """SliceThickness in mm; None if it is unknown: absent, empty, or not a positive number, such as 0."""
    value = dataset.get("SliceThickness")
    found = None if value in (None, "") else float(value)
    return found if found is not None and 0 < found < float("inf") else None


def _placed(dataset, name: str, missing: tuple[str, ...]) -> tuple:
    """The numbers of a tag of position or orientation, or those of `AXIAL` if it is among `missing`."""
    return AXIAL[name] if name in missing else numbers(dataset, name, len(AXIAL[name]))


def _check_pixels(dataset, rows: int, columns: int, n_frames: int, pixel_bytes: int) -> None:
    """Raises `InputError` if the declared size is too large, or the file is too small for it. Nothing is decoded."""
    check_size((n_frames, rows, columns))
    if pixel_bytes <= 0:
        raise InputError("PixelData must be present, got a header without pixel data")
    declared = 2 * rows * columns * n_frames
    syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    if not syntax:
        raise InputError("TransferSyntaxUID must be present, got none")
    limit = pixel_bytes if syntax in UNCOMPRESSED else MAX_COMPRESSION_RATIO * pixel_bytes
    if declared > limit:
        raise InputError(
            f"PixelData must contain {n_frames} × {rows} × {columns} pixels ({declared:,} bytes), got "
            f"{pixel_bytes:,} bytes up to the end of the file (truncated?)"
        )
