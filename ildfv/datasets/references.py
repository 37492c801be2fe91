"""Assignment of DICOM SEG and RT Structure Set objects to the series that they reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ildfv.datasets.records import Label, Lost, Scan
from ildfv.scans.segmentation import on_slices

TABLE = "use `prepare --table` to name the scan of each label map"


def by_reference(
    scans: Sequence[Scan], by_series: Mapping[str, Sequence[int]], lost: Mapping[str, Lost], label: Label
) -> tuple[list[tuple[int, Label]], str]:
    """(list of (index of a scan, its label map) for the scans that a DICOM object segments, reason if there are none).

    The scans are those of the referenced series or, without a reference, of the only series with the object's frame of
    reference and, for a SEG, its slices. If the series was divided into acquisitions, each frame of a SEG belongs to
    the acquisition with a slice at its position, and an RT Structure Set is refused.
    """
    seg = label.reference
    assert seg is not None
    what = "an RT Structure Set" if label.kind == "contours" else "a DICOM SEG"
    found = [by_series[series] for series in seg.series if series in by_series]
    if len(found) == 1 and len(found[0]) == 1:
        return [(found[0][0], label)], ""
    if len(found) == 1:
        return _by_acquisition(scans, found[0], label)
    if unusable := [lost[series] for series in seg.series if series in lost]:
        return [], f"its scan is {unusable[0].source.name}, which cannot be used: {unusable[0].reason}"
    if seg.series:
        missing = "" if found else f": series {seg.series[0]} is missing"
        return [], f"{what} must reference one usable series of the input, got {len(found)}{missing}"
    same = [i for i, scan in enumerate(scans) if scan.dicom and scan.dicom.frame_of_reference == seg.frame_of_reference]
    if label.kind == "contours":
        if len(same) == 1 and seg.frame_of_reference:
            return [(same[0], label)], ""
        rule = f"{what} without a referenced series must have the FrameOfReferenceUID of one series"
        return [], f"{rule}, got the UID of {len(same)} series; {TABLE}"
    placed = [position is not None for position in seg.positions]
    fits = [i for i in same if any(placed) and on_slices(scans[i].geometry, seg)[placed].all()]
    if len(fits) == 1:
        return [(fits[0], label)], ""
    return [], (
        f"{what} without ReferencedSeriesSequence must be on the slices of one series with its "
        f"FrameOfReferenceUID, got {len(fits)} of {len(same)} series; {TABLE}"
    )


def _by_acquisition(scans: Sequence[Scan], indices: Sequence[int], label: Label) -> tuple[list[tuple[int, Label]], str]:
    """The result of `by_reference` for the acquisitions of a series, each with the frames of a SEG on its slices.

    If acquisitions share a position, a frame belongs to the acquisition with the slice that the frame was derived from.
    """
    seg = label.reference
    assert seg is not None
    names = "; ".join(scan.dicom.acquisition for scan in (scans[i] for i in indices) if scan.dicom)
    if label.kind == "contours":
        return [], f"an RT Structure Set must reference a series of one acquisition, got {len(indices)}: {names}"
    is_on_slice = {i: on_slices(scans[i].geometry, seg) for i in indices}
    frames: dict[int, list[int]] = defaultdict(list)
    for number in range(len(seg.positions)):
        owners = [i for i in indices if is_on_slice[i][number]]
        if len(owners) > 1:
            owners = [i for i in owners if (dicom := scans[i].dicom) and seg.sources[number] & dicom.instances]
        if len(owners) != 1:
            return [], (
                f"frame {number + 1} of a DICOM SEG must belong to one acquisition of its series, got "
                f"{'several' if sum(is_on_slice[i][number] for i in indices) else 'none'} of {names}"
            )
        frames[owners[0]].append(number)
    return [(i, replace(label, frames=tuple(own))) for i, own in sorted(frames.items())], ""
