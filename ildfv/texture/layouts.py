"""Readers of public texture sets, with classes and groups, in the layout in which they are distributed.

kth-tips    KTH_TIPS/<class>/*.png: 10 classes, 81 images each; no groups
kth-tips2   KTH-TIPS2-b/<class>/sample_<a-d>/*.png: the sample is the group
dtd         dtd/images/<class>/*.jpg: 47 classes, 120 images each; predefined folds are not used
fmd         FMD/image/<class>/*.jpg: 10 classes, 100 images each
outex       <problem>/images/*.{ras,bmp,png} and <problem>/000/{train,test}.txt, with a first line that is not read
            and lines "name class"; the set is the union of both lists
emphysema   CT Emphysema Database: patches/patch<n>.tiff and patch_labels.csv; per patch the class (1 normal,
            2 centrilobular, 3 paraseptal emphysema) and the subject, which is the group
hug-ild     patches of the HUG-ILD database: ILD_DB_talismanTestSuite/<class>_patch<n>_patient<p>_<m>.tif in HU; the
            patient is the group, and patches of patient −1 are always training images
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ildfv.errors import check
from ildfv.parsing import MAX_CSV_BYTES, read_bytes, read_csv
from ildfv.texture.collection import Collection, by_folder, images_in
from ildfv.texture.images import SUFFIXES

EMPHYSEMA = {"1": "normal", "2": "centrilobular", "3": "paraseptal"}
HUG_ILD = re.compile(r"(.+)_patch\d+_patient(-?\d+)(?:_\d+)?\.tiff?", re.IGNORECASE)  # class, patient


def read_layout(name: str, folder: Path) -> Collection:
    """The texture set in a folder with the layout `name`; InputError if a part is missing."""
    check(name in LAYOUTS, f'--layout must be one of {", ".join(LAYOUTS)}, got "{name}"')
    folder = Path(folder)
    check(folder.is_dir(), f"{folder} must be the folder of the texture set {name}, got a path that is not a folder")
    return LAYOUTS[name](folder)


def _inside(folder: Path, *names: str) -> Path:
    """The first sub-folder that exists, otherwise the folder itself. Not every archive has a top-level folder."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def _kth_tips(folder: Path) -> Collection:
    return by_folder(_inside(folder, "KTH_TIPS", "KTH_TIPS_grey"))


def _kth_tips2(folder: Path) -> Collection:
    found = by_folder(_inside(folder, "KTH-TIPS2-b", "KTH-TIPS2-a"))
    groups = []
    for path in found.paths:
        sample = path.parent.name
        check(
            re.fullmatch("sample_[a-d]", sample) is not None,
            f"{path} must be in a folder sample_a … sample_d, got {sample}",
        )
        groups.append(sample)
    return Collection(found.paths, found.labels, tuple(groups))


def _dtd(folder: Path) -> Collection:
    return by_folder(_inside(folder, "dtd/images", "images"))


def _fmd(folder: Path) -> Collection:
    return by_folder(_inside(folder, "FMD/image", "image"))


def _outex(folder: Path) -> Collection:
    images, lists = folder / "images", sorted(folder.glob("[0-9][0-9][0-9]"))
    check(images.is_dir() and bool(lists), f"{folder} must contain the folders images and 000 of an Outex problem")
    labels: dict[Path, str] = {}
    for part in ("train.txt", "test.txt"):
        file = lists[0] / part
        check(file.is_file(), f"{folder} must contain {lists[0].name}/{part}, got no such file")
        lines = read_bytes(file, MAX_CSV_BYTES).decode(errors="replace").splitlines()
        for number, line in enumerate(lines[1:], start=2):
            name, _, label = line.partition(" ")
            path = _converted(images / name)
            check(
                path is not None and label.strip().isdecimal(),
                f"{file} must have an existing image and its class number in each line, got {line!r} in line {number}",
            )
            assert path is not None
            labels[path] = f"class {int(label):03}"
    paths = tuple(sorted(labels))
    return Collection(paths, tuple(labels[path] for path in paths))


def _converted(path: Path) -> Path | None:
    """The image with the given name, or with the suffix of another readable format."""
    return next((p for p in (path, *(path.with_suffix(s) for s in SUFFIXES)) if p.is_file()), None)


def _emphysema(folder: Path) -> Collection:
    table = folder / "patch_labels.csv"
    check(table.is_file(), f"{folder} must contain patch_labels.csv of the CT Emphysema Database, got no such file")
    rows = [(line, [cell.strip() for cell in row]) for line, row in read_csv(table)[1]]
    paths, labels, groups = [], [], []
    for number, (line, row) in enumerate(rows, start=1):
        known = len(row) >= 2 and row[0] in EMPHYSEMA
        check(known, f"{table} must have the class 1, 2 or 3 and the subject in each line, got {row} in line {line}")
        path = next((p for p in _patches(folder, number) if p.is_file()), None)
        check(
            path is not None,
            f"{folder} must contain patches/patch{number}.tiff for line {line} of {table.name}, got no such file",
        )
        assert path is not None
        paths.append(path)
        labels.append(EMPHYSEMA[row[0]])
        groups.append(row[1])
    check(bool(rows), f"{table} must have a line for each patch, got none")
    return Collection(tuple(paths), tuple(labels), tuple(groups))


def _patches(folder: Path, number: int) -> list[Path]:
    return [folder / "patches" / f"patch{number}{suffix}" for suffix in (".tiff", ".tif", ".png")]


def _hug_ild(folder: Path) -> Collection:
    images = images_in(_inside(folder, "ILD_DB_talismanTestSuite"))
    names = [HUG_ILD.fullmatch(path.name) for path in images]
    for path, name in zip(images, names, strict=True):
        check(name is not None, f"{path.name} must be named <class>_patch<n>_patient<p>_<m>.tif, as in HUG-ILD")
    parts = [name.groups() for name in names if name is not None]
    labels, groups = tuple(label for label, _ in parts), tuple(patient for _, patient in parts)
    return Collection(tuple(images), labels, groups, training_only=frozenset({"-1"}))


LAYOUTS: dict[str, Callable[[Path], Collection]] = {
    "kth-tips": _kth_tips,
    "kth-tips2": _kth_tips2,
    "dtd": _dtd,
    "fmd": _fmd,
    "outex": _outex,
    "emphysema": _emphysema,
    "hug-ild": _hug_ild,
}
