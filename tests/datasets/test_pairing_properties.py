"""Random folder trees with known pairs: a label map is paired with its scan or none, even if files are missing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ildfv.datasets.pairing import pair
from ildfv.datasets.records import Label, Lost, Scan
from ildfv.scans.dicom import Series
from ildfv.scans.geometry import Geometry

ROOT = Path("/data")
GRID = Geometry((6, 64, 64), np.zeros(3), np.diag([5.0, 4.0, 4.0]))
SERIES = Series((), GRID, "", "", "", ())
NAMES = ("p1", "p11", "p1_2", "1", "01", "alice", "bob", "Müller", "Möller", "case-1", "case1", "LM01", "anna_lung2")
TIMES = ("t0", "t1", "t10", "2019-01-02", "baseline")
UIDS = ("1.2.840.113.1", "1.2.840.113.11", "1.2.840.113.2")


@dataclass(frozen=True)
class Study:
    """The paths of one scan and its label map in the tree; the path of a series is its folder."""

    scan: str
    label: str
    series: bool = False


def flat(rng):
    return [Study(f"{name}.nii.gz", f"{name}_label.nii.gz") for name in chosen(rng, NAMES)]


def patient_folders(rng):
    return [Study(f"{name}/ct.nrrd", f"{name}/labels.nrrd") for name in chosen(rng, NAMES)]


def time_points(rng):
    return [
        Study(f"{name}/{time}.nii.gz", f"{name}/{time}-seg.nii.gz")
        for name in chosen(rng, NAMES)
        for time in chosen(rng, TIMES)
    ]


def visits(rng):
    return [
        Study(f"{name}/{time}/image.nii.gz", f"{name}/{time}/segmentation.nii.gz")
        for name in chosen(rng, NAMES)
        for time in chosen(rng, TIMES)
    ]


def series_folders(rng):
    return [Study(f"{name}/dicom", f"{name}/labels.nii.gz", series=True) for name in chosen(rng, NAMES)]


def labels_above_series(rng):
    return [Study(name, f"{name}_label.nii.gz", series=True) for name in chosen(rng, NAMES)]


def labels_inside_series(rng):
    return [Study(name, f"{name}/Segmentation.seg.nrrd", series=True) for name in chosen(rng, NAMES)]


def nnunet(rng):
    return [
        Study(f"images{split}/{name}_0000.nii.gz", f"labels{split}/{name}.nii.gz")
        for split in ("Tr", "Ts")
        for name in chosen(rng, NAMES)
    ]


def parallel_folders(rng):
    return [Study(f"scans/{name}.nrrd", f"masks/{name}.nrrd") for name in chosen(rng, NAMES)]


def bids(rng):
    return [
        Study(
            f"sub-{name}/ses-{time}/ct/sub-{name}_ses-{time}_run-{run}_ct.nii.gz",
            f"derivatives/manual/sub-{name}/ses-{time}/ct/sub-{name}_ses-{time}_run-{run}_desc-final_dseg.nii.gz",
        )
        for name in chosen(rng, ("01", "1", "11"))
        for time in chosen(rng, ("1", "2"))
        for run in chosen(rng, ("1", "2"))
    ]


def slicer(rng):
    return [Study(f"{name}/{name}.nrrd", f"{name}/{name}.seg.nrrd") for name in chosen(rng, NAMES)]


def named_by_uid(rng):
    return [Study(f"{uid}.nii.gz", f"{uid}_label.nii.gz") for uid in chosen(rng, UIDS)]


def reconstructions(rng):
    return [
        Study(f"{name}/{kernel}.nrrd", f"{name}/{kernel}_label.nrrd")
        for name in chosen(rng, NAMES)
        for kernel in chosen(rng, ("lung", "soft", "chest", "bone", "healthy", "lobe"))
    ]


def parts(rng):
    return [
        Study(f"{name}{part}.nrrd", f"{name}{part}_label.nrrd")
        for name in chosen(rng, ("p1", "anna", "2"))
        for part in chosen(rng, ("", "_old", "_new", "_left", "_upper", "_chest", "_b", "_3", "x", " copy"))
    ]


def series_of_a_patient(rng):
    return [
        Study(f"{name}/{time}", f"{name}/{time}_seg.nii.gz", series=True)
        for name in chosen(rng, NAMES)
        for time in chosen(rng, TIMES)
    ]


def series_below_a_study(rng):
    return [Study(f"{name}/study/CT/series1", f"{name}/labels.nii.gz", series=True) for name in chosen(rng, NAMES)]


def labels_in_a_tree_of_their_own(rng):
    return [
        Study(f"images/{name}/{time}.nii.gz", f"labels/{name}/{time}.nii.gz")
        for name in chosen(rng, NAMES)
        for time in chosen(rng, TIMES)
    ]


LAYOUTS = (
    series_below_a_study, reconstructions, parts, labels_in_a_tree_of_their_own, series_of_a_patient,
    flat, patient_folders, time_points, visits, series_folders, labels_above_series, labels_inside_series, nnunet,
    parallel_folders, bids, slicer, named_by_uid,
)  # fmt: skip


def chosen(rng, names):
    return list(rng.permutation(names)[: rng.integers(1, len(names) + 1)])


def as_scan(study: Study) -> Scan:
    path = ROOT / study.scan
    if study.series:
        return Scan(path, "dicom", "", study.scan, GRID, (path / "1.dcm", path / "2.dcm"), dicom=SERIES)
    return Scan(path, "nifti", "", study.scan, GRID, (path,))


def paired(studies, usable, lost):
    """{label map: scan} of all label maps that were paired."""
    scans = [as_scan(study) for study in usable]
    labels = [Label(ROOT / study.label, "nifti", GRID) for study in studies]
    damaged = [Lost(ROOT / study.scan, "is damaged", study.series) for study in lost]
    result = pair(scans, labels, damaged, root=ROOT)
    return {
        label.path.relative_to(ROOT).as_posix(): scans[i].source.relative_to(ROOT).as_posix()
        for i, found in result.labels.items()
        for label in found
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_label_maps_of_every_layout_are_paired(layout):
    for seed in range(30):
        studies = layout(np.random.default_rng(seed))
        assert paired(studies, studies, []) == {study.label: study.scan for study in studies}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_label_map_of_a_missing_or_damaged_scan_is_not_paired(layout):
    for seed in range(100):
        rng = np.random.default_rng(seed)
        studies = layout(rng)
        fate = rng.choice(["usable", "missing", "damaged"], len(studies), p=[0.5, 0.25, 0.25])
        usable = [study for study, one in zip(studies, fate, strict=True) if one == "usable"]
        lost = [study for study, one in zip(studies, fate, strict=True) if one == "damaged"]
        found = paired(studies, usable, lost)
        assert found == {study.label: study.scan for study in usable}


def test_layouts_in_one_tree_are_not_mixed_up():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        studies = []
        for number, layout in enumerate(rng.permutation(np.array(LAYOUTS, object))[:3]):
            site = f"site{number}/" if number else ""
            studies += [Study(site + s.scan, site + s.label, s.series) for s in layout(rng)]
        fate = rng.choice(["usable", "missing", "damaged"], len(studies), p=[0.6, 0.2, 0.2])
        usable = [study for study, one in zip(studies, fate, strict=True) if one == "usable"]
        lost = [study for study, one in zip(studies, fate, strict=True) if one == "damaged"]
        truth = {study.label: study.scan for study in studies}
        for label, scan in paired(studies, usable, lost).items():
            assert truth[label] == scan, (label, scan, truth[label], fate)
