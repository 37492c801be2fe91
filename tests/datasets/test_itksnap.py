"""Names in a label description of ITK-SNAP decide what the values of a label map mean."""

import numpy as np
import pytest
from preparing import prepare

from ildfv.datasets.discovery import discover
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.scans.itksnap import is_description, label_names, translate
from ildfv.scans.labels import MEANINGS, Codes

HEADER = """################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
"""
SALT = "0123456789abcdef"
NAMED = Codes({0: "outside"}, segments={"ggo": "ground glass", "normal": "healthy"}, name="t")


def describe(path, *names):
    lines = [f'{i:5d}   {i:3d}    0    0        1  1  1    "{name}"' for i, name in names]
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


def meant(values, names, codes):
    return [MEANINGS[i] for i in translate(np.array(values), names, codes)]


def test_the_names_of_a_file_are_read(tmp_path):
    path = describe(tmp_path / "labels.txt", (0, "Clear Label"), (1, "GGO"), (7, 'with "quotes"'))
    assert is_description(path.read_bytes()[:512])
    assert label_names(path) == {0: "Clear Label", 1: "GGO", 7: 'with "quotes"'}


@pytest.mark.parametrize("line", ["no label", '1 2 "short"', '-1 0 0 0 1 1 1 "negative"', '1 0 0 0 1 1 1 "twice"'])
def test_a_line_that_does_not_describe_a_label_is_refused(tmp_path, line):
    path = describe(tmp_path / "labels.txt", (1, "GGO"))
    path.write_text(path.read_text() + line)
    with pytest.raises(InputError, match=r"labels\.txt, line 7"):
        label_names(path)


def test_names_decide_the_meaning_of_labels():
    assert meant([0, 3, 9], {0: "Clear Label", 3: "GGO", 9: "emphysema"}, NAMED) == [
        "outside",
        "ground glass",
        "emphysema",
    ]


def test_labels_with_a_default_name_have_the_meaning_of_their_code():
    codes = Codes({0: "outside", 2: "emphysema"}, segments={"ggo": "ground glass"})
    assert meant([0, 1, 2], {1: "GGO", 2: "Label 2"}, codes) == ["outside", "ground glass", "emphysema"]


def test_names_that_are_not_used_need_no_meaning():
    assert meant([0, 1], {0: "Clear Label", 1: "GGO", 2: "aorta"}, NAMED) == ["outside", "ground glass"]


@pytest.mark.parametrize(
    ("names", "codes", "message"),
    [
        ({1: "aorta"}, NAMED, "must be a meaning or listed in"),
        ({1: "GGO"}, Codes({0: "outside", 1: "emphysema"}, segments={"ggo": "ground glass"}), "must mean emphysema"),
        ({1: "emphysema"}, Codes({0: "outside", 1: "healthy"}), "must mean healthy"),
        ({1: "Label 1"}, NAMED, "unknown code 1"),
        ({2: "GGO"}, NAMED, "unknown code 1"),
    ],
)
def test_names_without_a_meaning_and_contradictions_are_refused(names, codes, message):
    with pytest.raises(InputError, match=message):
        meant([0, 1], names, codes)


def test_without_names_in_the_table_the_codes_decide():
    assert meant([0, 1], {1: "GGO"}, Codes({0: "outside", 1: "ground glass"})) == ["outside", "ground glass"]


@pytest.fixture
def scans(tmp_path, files, inline):
    """Two scans in one folder, whose label maps use the values 1 and 2 for ground glass; a table of names."""
    hu = files.chest(2)
    mask = files.codes(hu) == 1
    for value, name in ((1, "anna"), (2, "bert")):
        files.nifti(tmp_path / f"s/{name}.nii.gz", files.chest(2, seed=value))
        files.nifti(tmp_path / f"s/{name}_label.nii.gz", (value * mask).astype(np.uint8))
    (tmp_path / "t.toml").write_text('[segments]\nGGO = "ground glass"\nlung = "healthy"\n')
    return int(mask.sum())


def test_each_label_map_has_its_description(tmp_path, scans):
    describe(tmp_path / "s/anna_labels.txt", (1, "GGO"), (2, "lung"))
    describe(tmp_path / "s/bert.label", (1, "lung"), (2, "GGO"))
    report = prepare(tmp_path / "s", tmp_path / "out", codes=tmp_path / "t.toml", salt=SALT)
    assert not report.quarantined
    assert Slices(tmp_path / "out").counts.sum(axis=0).tolist() == [2 * scans, 0, 0, 0]


def test_one_description_may_name_the_labels_of_a_folder(tmp_path, scans):
    describe(tmp_path / "s/itk_labels.txt", (1, "GGO"), (2, "lung"))
    prepare(tmp_path / "s", tmp_path / "out", codes=tmp_path / "t.toml", salt=SALT)
    assert Slices(tmp_path / "out").counts.sum(axis=0).tolist() == [scans, 0, 0, 0]


def test_a_changed_description_is_read_again(tmp_path, scans):
    describe(tmp_path / "s/labels.txt", (1, "GGO"), (2, "lung"))
    for total in (scans, 2 * scans):
        prepare(tmp_path / "s", tmp_path / "out", codes=tmp_path / "t.toml", salt=SALT)
        assert Slices(tmp_path / "out").counts.sum() == total
        describe(tmp_path / "s/labels.txt", (1, "GGO"), (2, "GGO"))


@pytest.mark.parametrize("second", ["b.txt", None])
def test_scans_with_two_descriptions_or_a_damaged_one_are_refused(tmp_path, scans, second):
    describe(tmp_path / "s/a.txt", (1, "GGO"), (2, "lung"))
    if second:
        describe(tmp_path / "s" / second, (1, "lung"), (2, "GGO"))
    else:
        (tmp_path / "s/a.txt").write_text(HEADER + "something else\n")
    found = discover(tmp_path / "s", ScanSettings(codes=Codes.load(tmp_path / "t.toml")))
    assert not found.scans
    assert all("a.txt" in unused.reason for unused in found.quarantined if unused.source.suffix == ".gz")


def test_a_description_without_a_label_map_is_named(tmp_path, files):
    files.nifti(tmp_path / "p1/ct.nii.gz", files.chest(2))
    describe(tmp_path / "p1/labels.txt", (1, "GGO"))
    (unused,) = discover(tmp_path).ignored
    assert "a label description of ITK-SNAP" in unused.reason
