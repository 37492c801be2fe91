"""Several label maps of one scan: combined where they agree, refused where they contradict, masks by their names."""

import numpy as np
import pytest
from preparing import prepare

from ildfv.datasets.slice_store import Slices
from ildfv.scans.labels import HEALTHY, MEANINGS, OTHER, OUTSIDE, Codes
from ildfv.scans.overlay import Overlay

SALT = "0123456789abcdef"
TABLE = '[codes]\n0 = "outside"\n1 = "healthy"\n2 = "ground glass"\n5 = "emphysema"\n'


def run(tmp_path, table=TABLE, **options):
    (tmp_path / "codes.toml").write_text(table)
    return prepare(tmp_path / "scans", tmp_path / "out", codes=tmp_path / "codes.toml", salt=SALT, **options)


def counts(tmp_path):
    return Slices(tmp_path / "out").counts


def only(codes, *kept):
    return np.where(np.isin(codes, kept), codes, 0).astype(np.uint8)


@pytest.fixture
def chest(tmp_path, files, inline):
    """A scan in its folder, and its codes."""
    hu = files.chest()
    files.nifti(tmp_path / "scans/p1/ct.nii.gz", hu)
    return files.codes(hu)


def test_label_maps_of_one_scan_are_combined(tmp_path, files, chest):
    files.nifti(tmp_path / "scans/p1/labels-ild.nii.gz", only(chest, 1, 5))
    files.nifti(tmp_path / "scans/p1/labels-manual.nii.gz", only(chest, 1, 2))
    (scan,) = run(tmp_path).prepared
    assert [path.name for path in scan.labels] == ["labels-ild.nii.gz", "labels-manual.nii.gz"]
    np.testing.assert_array_equal(counts(tmp_path), [[(s == c).sum() for c in (2, 3, 4, 5)] for s in chest])


def test_contradicting_label_maps_are_refused_with_both_names(tmp_path, files, chest):
    files.nifti(tmp_path / "scans/p1/reader1_labels.nii.gz", chest)
    files.nifti(tmp_path / "scans/p1/reader2_labels.nii.gz", np.where(chest == 2, 5, chest))
    (refused,) = run(tmp_path).quarantined
    assert refused.reason.startswith(
        "label map reader1_labels.nii.gz and label map reader2_labels.nii.gz must not contradict each other, "
        "got ground glass and emphysema in one voxel (slice 1): set their priority in codes.toml"
    )
    assert refused.files == 3


def test_a_priority_decides_between_label_maps(tmp_path, files, chest):
    files.nifti(tmp_path / "scans/p1/reader1_labels.nii.gz", chest)
    files.nifti(tmp_path / "scans/p1/reader2_labels.nii.gz", np.where(chest == 2, 5, chest))
    (_,) = run(tmp_path, 'priority = ["emphysema", "ground glass"]\n' + TABLE).prepared
    assert not counts(tmp_path)[:, 0].any()
    np.testing.assert_array_equal(counts(tmp_path)[:, 3], [np.isin(s, (2, 5)).sum() for s in chest])


def test_a_changed_second_label_map_is_prepared_again(tmp_path, files, chest):
    files.nifti(tmp_path / "scans/p1/labels-ild.nii.gz", only(chest, 1))
    files.nifti(tmp_path / "scans/p1/labels-manual.nii.gz", only(chest, 2))
    assert [scan.kept for scan in run(tmp_path).prepared] == [False]
    assert [scan.kept for scan in run(tmp_path).prepared] == [True]
    files.nifti(tmp_path / "scans/p1/labels-manual.nii.gz", only(chest, 2, 5))
    assert [scan.kept for scan in run(tmp_path).prepared] == [False]
    assert counts(tmp_path)[:, 3].all()


@pytest.mark.parametrize("value", [1, 5, 255])
def test_a_mask_named_after_a_structure_has_its_meaning_whatever_its_value(tmp_path, files, chest, value):
    files.nifti(tmp_path / "scans/p1/segmentations/ground_glass.nii.gz", (chest == 2).astype(np.uint8) * value)
    files.nifti(tmp_path / "scans/p1/segmentations/aerated.nii.gz", (chest == 1).astype(np.uint8) * value)
    files.nifti(tmp_path / "scans/p1/segmentations/aorta.nii.gz", (chest == 5).astype(np.uint8) * value)
    report = run(tmp_path, TABLE + '[segments]\naerated = "healthy"\n')
    (scan,) = report.prepared
    assert [path.name for path in scan.labels] == ["aerated.nii.gz", "ground_glass.nii.gz"]
    assert [unused.source.name for unused in report.ignored] == ["aorta.nii.gz"]
    assert not report.quarantined
    np.testing.assert_array_equal(counts(tmp_path)[:, 0], [(s == 2).sum() for s in chest])
    assert not counts(tmp_path)[:, 1:].any()


def test_a_structure_is_recognised_in_camel_case_and_among_words_for_lung_regions(tmp_path, files, chest):
    parts = {"GroundGlass": chest == 2, "left_lung_emphysema": chest == 5, "LowerLobeRight-Healthy": chest == 1}
    for name, mask in parts.items():
        files.nifti(tmp_path / f"scans/p1/segmentations/{name}.nii.gz", mask.astype(np.uint8))
    report = run(tmp_path, TABLE)
    assert not report.quarantined + report.ignored
    np.testing.assert_array_equal(counts(tmp_path)[:, 0], [(s == 2).sum() for s in chest])
    np.testing.assert_array_equal(counts(tmp_path)[:, 3], [(s == 5).sum() for s in chest])


def test_a_mask_with_further_words_in_its_name_is_refused(tmp_path, files, chest):
    files.nifti(tmp_path / "scans/p1/segmentations/emphysema.nii.gz", (chest == 5).astype(np.uint8))
    files.nifti(tmp_path / "scans/p1/segmentations/no_ground_glass.nii.gz", (chest == 2).astype(np.uint8))
    (unused,) = run(tmp_path, TABLE).quarantined
    assert unused.source.name == "no_ground_glass.nii.gz"


def test_masks_next_to_their_scan_are_recognised_by_the_code_table(tmp_path, files, inline):
    for number in (1, 2):
        hu = files.chest(seed=number)
        files.nifti(tmp_path / f"scans/case{number}.nii.gz", hu)
        files.nifti(tmp_path / f"scans/case{number}_GGO.nii.gz", (files.codes(hu) == 2).astype(np.uint8))
    report = run(tmp_path, TABLE + '[segments]\nggo = "ground glass"\n')
    assert [[path.name for path in scan.labels] for scan in report.prepared] == [
        ["case1_GGO.nii.gz"],
        ["case2_GGO.nii.gz"],
    ]
    assert counts(tmp_path)[:, 0].all()


@pytest.mark.parametrize("name", ["lung_mask", "p1_lobes_seg", "lungs-label", "honeycombing_mask", "vessels.seg"])
def test_a_mask_of_an_unnamed_structure_is_never_read_by_code(tmp_path, files, chest, name):
    files.nrrd(tmp_path / f"scans/p1/{name}.nrrd", (chest > 0).astype(np.uint8))
    report = run(tmp_path)
    assert [(scan.labelled, scan.labels) for scan in report.prepared] == [(False, ())]
    (ignored,) = report.ignored
    assert ignored.reason == "a mask of a structure that [segments] of the code table does not name"


@pytest.mark.parametrize(
    ("folder", "meaning"), [("lung_masks", None), ("ground-glass-seg", 0), ("emphysemaMasks/train", 3)]
)
def test_a_folder_may_be_named_after_the_structure_of_its_masks(tmp_path, files, inline, folder, meaning):
    hu = files.chest()
    files.nifti(tmp_path / "scans/images" / folder.partition("/")[2] / "anna.nii.gz", hu)
    files.nifti(tmp_path / "scans" / folder / "anna.nii.gz", (files.codes(hu) == 1).astype(np.uint8))
    report = run(tmp_path)
    assert not report.quarantined
    assert len(report.prepared) == 1
    if meaning is None:
        assert len(report.ignored) == 1
        assert (counts(tmp_path) == -1).all()
    else:
        assert counts(tmp_path)[:, meaning].all()


def test_a_scan_may_have_a_name_like_a_structure(tmp_path, files, inline):
    hu = files.chest()
    files.nrrd(tmp_path / "scans/p/lung1_image.nrrd", hu)
    files.nrrd(tmp_path / "scans/p/lung1_label.nrrd", files.codes(hu))
    (scan,) = run(tmp_path).prepared
    assert [path.name for path in scan.labels] == ["lung1_label.nrrd"]
    assert scan.labelled


@pytest.mark.parametrize("name", ["emphysema_reader2_mask", "p1-emphysema-manual-seg", "seg_auto_Emphysema"])
def test_words_for_how_a_mask_was_made_do_not_change_its_structure(tmp_path, files, chest, name):
    files.nifti(tmp_path / f"scans/p1/{name}.nii.gz", (chest == 1).astype(np.uint8))
    run(tmp_path)
    np.testing.assert_array_equal(counts(tmp_path)[:, 3], [(s == 1).sum() for s in chest])


def test_a_mask_with_several_values_is_refused(tmp_path, files, chest):
    files.nifti(tmp_path / "scans/p1/masks/emphysema.nii.gz", chest)
    (refused,) = run(tmp_path).quarantined
    assert "a mask named 'emphysema' must have one value other than 0, got 1, 2, 5" in refused.reason


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(("weak", "strong"), [(OUTSIDE, OTHER), (OUTSIDE, HEALTHY), (OTHER, "reticular")])
def test_outside_and_other_are_overwritten_in_any_order(weak, strong, order):
    overlay = Overlay((1, 1, 1), Codes({0: OUTSIDE}))
    for i in order:
        overlay.add(0, np.full((1, 1), MEANINGS.index((weak, strong)[i]), np.uint8), str(i))
    assert MEANINGS[overlay.meanings.item()] == strong
