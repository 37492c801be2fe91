"""Label maps in a folder of label maps, or of one structure: their scan has the same path except for that folder."""

import pytest

from ildfv.datasets.discovery import discover
from ildfv.datasets.settings import ScanSettings
from ildfv.scans.labels import Codes

CODES = Codes({0: "outside", 3: "emphysema"}, segments={"ggo": "ground glass"})


def found(folder, files, scans, labels):
    hu = files.chest()
    for name in scans:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.nifti(folder / name, hu)
    for name in labels:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.nifti(folder / name, files.codes(hu))
    result = discover(folder, ScanSettings(codes=CODES), labels=True)
    pairs = {
        str(scan.source.relative_to(folder)): [
            (str(one.path.relative_to(folder)), one.structure) for one in scan.labels
        ]
        for scan in result.scans
    }
    return pairs, [str(unused.source.relative_to(folder)) for unused in result.quarantined]


@pytest.mark.parametrize("name", ["labels", "masks", "segmentations"])
def test_patients_in_a_folder_of_label_maps_are_paired_by_their_folder(tmp_path, files, name):
    pairs, refused = found(tmp_path, files, ["images/a/ct.nii.gz"], [f"{name}/a/ct.nii.gz", f"{name}/b/ct.nii.gz"])
    assert pairs == {"images/a/ct.nii.gz": [(f"{name}/a/ct.nii.gz", "")]}
    assert refused == [f"{name}/b/ct.nii.gz"]


@pytest.mark.parametrize("name", ["GGO", "ground_glass"])
@pytest.mark.parametrize(("scan", "mask"), [("anna.nii.gz", "{}/anna.nii.gz"), ("anna/ct.nii.gz", "{}/anna.nii.gz")])
def test_a_folder_named_after_a_structure_contains_masks_of_that_structure(tmp_path, files, name, scan, mask):
    pairs, refused = found(tmp_path, files, [scan], [mask.format(name), f"{name}/bert.nii.gz"])
    assert pairs == {scan: [(mask.format(name), name.replace("GGO", "ggo").replace("_", " "))]}
    assert refused == [f"{name}/bert.nii.gz"]


def test_folders_of_patients_with_one_diagnosis_contain_scans(tmp_path, files):
    scans = ["emphysema/anna.nii.gz", "healthy/bert.nii.gz"]
    pairs, refused = found(tmp_path, files, scans, [])
    assert (pairs, refused) == ({name: [] for name in scans}, [])
