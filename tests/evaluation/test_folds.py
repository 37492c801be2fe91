"""Folds: by patient, stratified, reproducible, and without leakage."""

import hashlib
import json

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.evaluation.folds import Folds, check_no_leak
from ildfv.evaluation.stratified_folds import check_one_patient_per_scan, make_folds
from ildfv.evaluation.stratify import partition
from ildfv.patterns import PATTERNS, presence

T = 6000


def cohort(n_patients=60, seed=0):
    """patients (N,), counts (N, 4) of a cohort with one common, two less common and one rare pattern."""
    rng = np.random.default_rng(seed)
    ill = rng.random((n_patients, 4)) < [0.6, 0.4, 0.15, 0.3]
    sizes = rng.integers(5, 40, n_patients)
    number = np.repeat(np.arange(n_patients), sizes)
    counts = np.where(ill[number] & (rng.random((len(number), 4)) < 0.6), T + 100, 50)
    return np.array([f"p{i:03d}" for i in number]), counts


def test_every_patient_is_tested_once_and_is_not_in_that_folds_training_set():
    patients, counts = cohort()
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    tested = np.concatenate([folds.test(k, patients) for k in range(5)])
    assert sorted(tested) == list(range(len(patients)))
    for k in range(5):
        train, test = folds.train(k, patients), folds.test(k, patients)
        fit, validation = folds.inner(k, patients)
        assert not set(patients[train]) & set(patients[test])
        assert not set(patients[fit]) & set(patients[validation])
        assert sorted([*fit, *validation]) == train.tolist()
        assert len(set(patients[validation])) == round(0.2 * len(set(patients[train])))


def test_each_pattern_is_distributed_evenly():
    patients, counts = cohort(100)
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    rows = folds.table()
    assert {row["patients"] for row in rows} == {20}
    for pattern in PATTERNS:
        shares = np.array([row["slices_with"][pattern] for row in rows], dtype=float)
        assert abs(shares / shares.sum() - 0.2).max() < 0.02
        there = [row["patients_with"][pattern] for row in rows]
        assert max(there) - min(there) <= 2


def test_stratified_folds_are_more_balanced_than_random_ones():
    patients, counts = cohort(40, seed=3)
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    names, number = np.unique(patients, return_inverse=True)
    shown = np.stack([np.bincount(number, weights=counts[:, k] >= T) for k in range(4)], 1)

    def unevenness(part):
        shares = np.stack([shown[part == k].sum(0) / shown.sum(0) for k in range(5)])
        return ((shares - 0.2) ** 2).sum()

    ours = unevenness(np.array([folds.fold_of[p] for p in names]))
    rng = np.random.default_rng(0)
    assert ours < min(unevenness(rng.permutation(np.arange(40) % 5)) for _ in range(500))


def test_a_pattern_of_as_many_patients_as_folds_is_in_each_fold():
    patients = np.array([f"p{i:02d}" for i in range(25)])
    counts = np.zeros((25, 4), int)
    counts[[0, 3, 7, 11, 20], 2] = T
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    assert [row["patients_with"]["honeycomb"] for row in folds.table()] == [1] * 5


def test_in_small_cohorts_a_fold_rarely_lacks_a_pattern_it_could_have():
    empty = possible = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        ill = rng.random((12, 4)) < 0.45
        patients = np.repeat([f"p{i:02d}" for i in range(12)], 20)
        shown = np.repeat(ill, 20, axis=0) & (rng.random((240, 4)) < 0.5)
        for pattern in PATTERNS:
            rows = make_folds(patients, shown.astype(int), labels=PATTERNS, threshold=T).table()
            there = [row["patients_with"][pattern] for row in rows]
            if sum(there) >= 5:
                possible += 5
                empty += there.count(0)
    assert empty <= 0.01 * possible


def test_folds_depend_on_the_seed_and_not_on_the_order_of_slices():
    patients, counts = cohort()
    order = np.random.default_rng(1).permutation(len(patients))
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, seed=4)
    assert make_folds(patients[order], presence(counts[order], T), labels=PATTERNS, threshold=T, seed=4) == folds
    assert make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, seed=5).members != folds.members
    fit, validation = folds.inner(2, patients)
    fit_again, validation_again = folds.inner(2, patients[order])
    assert set(order[fit_again]) == set(fit)
    assert set(order[validation_again]) == set(validation)


def test_patients_without_a_label_map_are_in_no_fold():
    patients, counts = cohort(12)
    counts[np.isin(patients, ["p003", "p007"])] = -1
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, n_folds=3)
    assert folds.unlabelled == ("p003", "p007")
    assert not {"p003", "p007"} & set(folds.fold_of)
    for k in range(3):
        used = np.concatenate([folds.train(k, patients), folds.test(k, patients)])
        assert not {"p003", "p007"} & set(patients[used])


def test_folds_are_restored_from_json():
    patients, counts = cohort(11)
    counts[patients == "p002"] = -1
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=4000, n_folds=4, seed=9)
    assert Folds.from_json(folds.to_json(), PATTERNS) == folds


def test_too_few_patients_give_a_one_line_error():
    patients, counts = cohort(4)
    rule = "--folds must be at most 4, the number of labelled patients, got 5: run `ildfv folds --folds 4`"
    with pytest.raises(InputError, match=rule):
        make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    with pytest.raises(InputError, match="n_folds must be at least 2, got 1"):
        make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, n_folds=1)


def test_folds_that_leave_one_patient_to_train_on_are_refused():
    patients, counts = cohort(3)
    with pytest.raises(InputError, match=r"at least 2 of the 3 patients .* got 2: run `ildfv folds --folds 3`"):
        make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, n_folds=2)
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T, n_folds=3)
    assert all(len(side) for k in range(3) for side in folds.inner(k, patients))
    with pytest.raises(InputError, match=r"must be at least 3 patients.* got 2"):
        make_folds(
            patients[patients < "p002"], presence(counts[patients < "p002"], T), labels=PATTERNS, threshold=T, n_folds=2
        )


def test_slices_without_any_label_map_name_the_command_that_reads_label_maps():
    with pytest.raises(InputError, match="no slice has a label map: run `ildfv prepare SCANS --codes"):
        make_folds(["p", "q"], np.full((2, 4), -1), labels=PATTERNS, threshold=T)


def edited(folds, change):
    document = json.loads(folds.to_json())
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["folds"][0].append(d["folds"][3][0]), "in fold 0 and fold 3"),
        (lambda d: d["folds"][1].append(d["folds"][1][0]), "in fold 1 and fold 1"),
        (lambda d: d["unlabelled"].append(d["folds"][2][0]), "in fold 2 and unlabelled"),
        (lambda d: d["folds"][0].append("stranger"), "profile, got none for stranger"),
        (lambda d: d["folds"].append([]), "fold 5 must have at least one patient"),
        (lambda d: d.pop("folds"), "must have the structure that `ildfv folds` writes, got KeyError"),
        (lambda d: d.update(kind="else"), "must be of kind"),
    ],
)
def test_a_hand_edited_file_that_leaks_is_refused(change, message):
    patients, counts = cohort(20)
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    with pytest.raises(InputError, match=message):
        Folds.from_json(edited(folds, change), PATTERNS)


def test_duplicate_keys_and_broken_json_are_refused():
    patients, counts = cohort(20)
    text = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T).to_json()
    with pytest.raises(InputError, match="have each key once, got duplicates of kind"):
        Folds.from_json(text.replace('"kind"', '"kind": "ildfv folds", "kind"', 1), PATTERNS)
    with pytest.raises(InputError, match=r"folds\.json must be JSON: "):
        Folds.from_json(text[:-20], PATTERNS)


def test_a_moved_patient_is_allowed():
    patients, counts = cohort(20)
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    moved = Folds.from_json(edited(folds, lambda d: d["folds"][0].append(d["folds"][1].pop())), PATTERNS)
    assert [len(m) for m in moved.members] == [5, 3, 4, 4, 4]


def test_scans_prepared_after_the_folds_are_named():
    patients, counts = cohort(10)
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    with pytest.raises(InputError, match=r"which lacks newcomer: add them or run `ildfv folds --fresh`"):
        folds.train(0, [*patients, "newcomer"])


def test_a_missing_fold_is_refused():
    patients, counts = cohort(10)
    with pytest.raises(InputError, match="fold must be 0 to 4, got 5"):
        make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T).test(5, patients)


def test_leaks_are_named():
    check_no_leak({"train": ["a", "b"], "test": ["c"]})
    with pytest.raises(InputError, match="got b in train and test"):
        check_no_leak({"train": ["a", "b"], "test": ["b"]})
    with pytest.raises(InputError, match="got s1 of patients a and b"):
        check_one_patient_per_scan(["a", "b"], ["s1", "s1"])


def renamed(patients, salt):
    return np.array([hashlib.sha256(f"{salt}{p}".encode()).hexdigest()[:16] for p in patients])


def test_a_seed_gives_the_same_folds_whatever_the_salt_of_the_names():
    patients, counts = cohort(20, seed=8)
    keep = np.unique(patients, return_index=True)[1]
    rows = np.sort(np.concatenate([keep, keep + 1, keep + 2]))  # equal numbers of slices make many profiles equal
    patients, counts = patients[rows], counts[rows]
    content = np.random.default_rng(0).normal(size=(len(rows), 2))
    found = []
    for salt in ("a", "b"):
        names = renamed(patients, salt)
        order = np.argsort(names, kind="stable")  # the salt changes the order of slices, too
        options = {"labels": PATTERNS, "threshold": T, "seed": 3, "content": content[order]}
        folds = make_folds(names[order], presence(counts, T)[order], **options)
        back = dict(zip(names.tolist(), patients.tolist(), strict=True))
        parts = [tuple({back[n] for n in names[i]} for i in folds.inner(k, names)) for k in range(5)]
        found.append(([{back[n] for n in members} for members in folds.members], parts))
    assert found[0] == found[1]


def test_folds_of_version_1_are_refused_with_a_remedy():
    patients, counts = cohort(20)
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    with pytest.raises(InputError, match=r"must have version 2, got 1, .*: run `ildfv folds --fresh` and train again"):
        Folds.from_json(edited(folds, lambda d: d.update(version=1)), PATTERNS)


def test_folds_of_a_newer_version_are_refused_and_must_not_be_replaced():
    patients, counts = cohort(20)
    folds = make_folds(patients, presence(counts, T), labels=PATTERNS, threshold=T)
    with pytest.raises(InputError, match=r"must have version 2, got 3, which a newer version .*: update ildfv$"):
        Folds.from_json(edited(folds, lambda d: d.update(version=3)), PATTERNS)


def test_partition_keeps_the_sizes_also_without_quantities():
    part = partition(np.zeros((7, 3)), [3, 2, 2], seed=0)
    assert np.bincount(part).tolist() == [3, 2, 2]


def test_partitioning_a_large_cohort_is_fast_and_balanced():
    rng = np.random.default_rng(0)
    amounts = rng.gamma(0.5, size=(700, 9)) * (rng.random((700, 9)) < 0.3)
    part = partition(amounts, [140] * 5)
    shares = np.stack([amounts[part == k].sum(0) / amounts.sum(0) for k in range(5)])
    assert abs(shares - 0.2).max() < 0.01


@pytest.mark.parametrize("content", [b"\xff\xfe{", b'{"kind": "\xff"}'])
def test_a_file_that_is_not_utf_8_gives_a_one_line_error(tmp_path, content):
    (tmp_path / "folds.json").write_bytes(content)
    with pytest.raises(InputError, match=r"folds\.json must be JSON: "):
        Folds.load(tmp_path / "folds.json", PATTERNS)
