"""Published texture sets are read from the layout in which they are distributed."""

import struct

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.texture.collection import Collection
from ildfv.texture.images import read_image
from ildfv.texture.layouts import read_layout
from ildfv.texture.splits import Protocol


def put(folder, *names):
    Image = pytest.importorskip("PIL.Image")
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9), i, np.uint8)).save(path)


def read(name, folder) -> Collection:
    found = read_layout(name, folder)
    assert all(path.is_file() for path in found.paths)
    return found


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("kth-tips", ["KTH_TIPS/sponge/02-scale_1_im_1_col.png", "KTH_TIPS/cork/48-scale_1_im_1_col.png"]),
        ("dtd", ["dtd/images/banded/banded_0002.jpg", "dtd/images/woven/woven_0001.jpg"]),
        ("fmd", ["FMD/image/fabric/fabric_moderate_001_new.jpg", "FMD/image/water/water_object_050_new.jpg"]),
    ],
)
def test_sets_with_a_folder_per_class_are_read(tmp_path, name, files):
    put(tmp_path, *files)
    found = read(name, tmp_path)
    assert found.classes == sorted(file.split("/")[-2] for file in files)
    inside = read(name, (tmp_path / files[0]).parents[1])
    assert inside.classes == found.classes


def test_samples_are_the_groups_of_kth_tips2(tmp_path):
    files = [f"KTH-TIPS2-b/{c}/sample_{s}/22a-scale_2_im_1_col.png" for c in ("cork", "wool") for s in "abcd"]
    put(tmp_path, *files)
    found = read("kth-tips2", tmp_path)
    assert sorted(set(found.groups)) == ["sample_a", "sample_b", "sample_c", "sample_d"]
    assert len(Protocol(leave_one_group_out=True).splits(found)) == 4


def test_outex_is_read_from_its_lists(tmp_path):
    put(tmp_path, "images/000000.bmp", "images/000001.bmp", "images/000002.bmp")
    (tmp_path / "000").mkdir()
    (tmp_path / "000" / "train.txt").write_text("2\n000000.ras 0\n000001.ras 1\n")
    (tmp_path / "000" / "test.txt").write_text("1\n000002.ras 1\n")
    assert read("outex", tmp_path).labels == ("class 000", "class 001", "class 001")
    (tmp_path / "000" / "test.txt").write_bytes(b"1\n000002.ras one\xe9\n")
    with pytest.raises(InputError, match=r"its class number in each line, got '000002.ras one.' in line 2"):
        read_layout("outex", tmp_path)
    (tmp_path / "000" / "test.txt").write_text("1\n000009.ras 1\n")
    with pytest.raises(
        InputError,
        match=r"test.txt must have an existing image and its class number in each line, got '000009.ras 1' in line 2",
    ):
        read_layout("outex", tmp_path)


def test_emphysema_patches_have_subjects_as_groups(tmp_path):
    put(tmp_path, *[f"patches/patch{i}.tiff" for i in (1, 2, 3)])
    (tmp_path / "patch_labels.csv").write_text("1, 4\n2, 7\n3, 7\n")
    found = read("emphysema", tmp_path)
    assert found.labels == ("normal", "centrilobular", "paraseptal")
    assert found.groups == ("4", "7", "7")
    (tmp_path / "patch_labels.csv").write_text("1, 4\n5, 7\n")
    with pytest.raises(InputError, match="class 1, 2 or 3 and the subject in each line"):
        read_layout("emphysema", tmp_path)
    (tmp_path / "patch_labels.csv").write_text("1, 4\n" * 4)
    with pytest.raises(
        InputError, match=r"must contain patches/patch4.tiff for line 4 of patch_labels.csv, got no such file"
    ):
        read_layout("emphysema", tmp_path)


def signed_tiff(path, values):
    """An uncompressed TIFF of int16, which Pillow does not write."""
    data, tags = values.astype("<i2").tobytes(), []
    entries = [(256, 4, values.shape[1]), (257, 4, values.shape[0]), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 4, 8), (277, 3, 1), (278, 4, values.shape[0]), (279, 4, len(data)), (339, 3, 2)]
    for tag, kind, value in entries:
        tags.append(struct.pack("<HHII", tag, kind, 1, value))
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + data + struct.pack("<H", len(tags)) + b"".join(tags) + struct.pack("<I", 0))


def test_hug_ild_patches_are_in_hu_and_patient_minus_one_is_never_tested(tmp_path):
    for number, (name, patient) in enumerate(
        [("ground_glass", 3), ("healthy", 3), ("healthy", 53), ("ground_glass", -1)]
    ):
        path = tmp_path / f"ILD_DB_talismanTestSuite/{name}_patch{number}_patient{patient}_7.tif"
        signed_tiff(path, np.full((32, 32), -850 - number))
    found = read("hug-ild", tmp_path)
    assert found.classes == ["ground_glass", "healthy"]
    assert sorted(set(found.groups)) == ["-1", "3", "53"]
    values = read_image(found.paths[found.groups.index("53")])
    assert values.values.shape == (32, 32)
    assert set(np.unique(values.values)) == {-852.0}
    more = Collection(
        (*found.paths, tmp_path / "a"), (*found.labels, "healthy"), (*found.groups, "-1"), found.training_only
    )
    tested = [set(np.asarray(more.groups)[test]) for _, test in Protocol(leave_one_group_out=True).splits(more)]
    assert tested == [{"3"}, {"53"}]
    put(tmp_path, "ILD_DB_talismanTestSuite/healthy.png")
    with pytest.raises(InputError, match=r"healthy.png must be named <class>_patch<n>_patient<p>_<m>.tif"):
        read_layout("hug-ild", tmp_path)
