"""Slices that nobody annotated are unlabelled, even if their scan has a label map, and are not used."""

import numpy as np
import pytest
from preparing import prepare

from ildfv.cli.prepare_report import grouped_notes, grouped_reasons
from ildfv.datasets.slice_store import Slices
from ildfv.evaluation.stratified_folds import make_folds
from ildfv.patterns import PATTERNS, presence
from ildfv.pipeline.split import split_slices

SALT = "0123456789abcdef"


def run(tmp_path, **options):
    return prepare(tmp_path / "scans", tmp_path / "out", **({"codes": "phantom", "salt": SALT} | options))


@pytest.fixture
def sparse(tmp_path, files, inline):
    """The codes of a scan of six slices, of which 2 and 3 are annotated and 5 shows no lung."""
    hu = files.chest()
    codes = files.codes(hu)
    codes[[0, 1, 4, 5]] = 0
    hu[5][hu[5] < -600] = 40
    hu[5, :4] = -1000
    files.nifti(tmp_path / "scans/p1/ct.nii.gz", hu)
    files.nifti(tmp_path / "scans/p1/ct_label.nii.gz", codes)
    return codes


def test_slices_with_lung_and_without_a_label_are_unlabelled(tmp_path, sparse):
    (scan,) = run(tmp_path).prepared
    slices = Slices(tmp_path / "out")
    assert slices.labelled.tolist() == [False, False, True, True, False, True]  # the last one has no lung
    assert (slices.counts[[0, 1, 4]] == -1).all()
    assert not slices.counts[5].any()
    assert scan.labelled_slices == 3
    assert scan.notes[-1] == "slices with lung but no label count as unlabelled: 3 of 6 slices"


def test_unlabelled_slices_are_negative_on_request_only(tmp_path, sparse):
    run(tmp_path)
    (scan,) = run(tmp_path, unlabelled_is_negative=True).prepared
    assert not scan.kept
    slices = Slices(tmp_path / "out")
    assert slices.labelled.all()
    assert not slices.counts[[0, 1, 4, 5]].any()
    assert [scan.kept for scan in run(tmp_path, unlabelled_is_negative=True).prepared] == [True]
    assert [scan.kept for scan in run(tmp_path).prepared] == [False]


def test_a_slice_with_only_other_structures_is_unlabelled(tmp_path, files, inline):
    hu = files.chest()
    codes = files.codes(hu)
    codes[1:] = np.where(codes[1:] > 0, 9, 0)
    files.nifti(tmp_path / "scans/p1/ct.nii.gz", hu)
    files.nifti(tmp_path / "scans/p1/ct_label.nii.gz", codes)
    (tmp_path / "t.toml").write_text("[codes]\n0='outside'\n1='healthy'\n2='ground glass'\n5='emphysema'\n9='other'\n")
    run(tmp_path, codes=tmp_path / "t.toml")
    assert Slices(tmp_path / "out").labelled.tolist() == [True] + [False] * 5


def test_a_split_contains_labelled_slices_only(tmp_path, files, inline):
    for number in range(6):
        hu = files.chest(seed=number)
        codes = files.codes(hu)
        codes[number % 3 :: 3] = 0
        files.nifti(tmp_path / f"scans/p{number}/ct.nii.gz", hu)
        files.nifti(tmp_path / f"scans/p{number}/labels.nii.gz", codes)
    run(tmp_path)
    slices = Slices(tmp_path / "out")
    assert int(slices.labelled.sum()) == 24
    shown = presence(slices.counts, 50)
    folds = make_folds(slices.patients, shown, labels=PATTERNS, threshold=50, n_folds=3, series=slices.series)
    for fold in range(3):
        split = split_slices(slices, folds, fold)
        assert slices.labelled[split.train].all()
        assert slices.labelled[split.test].all()
        assert len(split.train) + len(split.test) == 24


def test_quarantined_files_with_the_same_kind_of_reason_are_printed_once():
    """Reasons of one kind differ in numbers and in the name of their file."""
    entries = [(f"/data/p{n}/{n}.dcm", f"/data/p{n}/{n}.dcm must have 2 rows, got {min(n, 4)}") for n in range(2, 7)]
    entries += [("/data/a.dcm", "other reason"), ("/data/b.dcm", "other reason")]
    lines = grouped_reasons(entries, "in study/prepare.json")
    assert lines == [
        (
            "5 scans or files (the first: 2.dcm, 3.dcm, 4.dcm; all are listed in study/prepare.json)",
            "/data/p2/2.dcm must have 2 rows, got 2 (2 other values in some of them)",
        ),
        ("/data/a.dcm", "other reason"),
        ("/data/b.dcm", "other reason"),
    ]


def test_notes_that_differ_in_numbers_are_printed_once():
    notes = [(f"ct{i}.nii", f"slices are {i}×64, not 512×512") for i in (60, 64, 64, 64)] + [("a", "other")]
    assert grouped_notes(notes) == [
        "4 scans (the first: ct60.nii): slices are 64×64, not 512×512 (1 other value in some of these scans)",
        "a: other",
    ]
