"""A set of labelled images, read from a folder with one folder per class or from a table."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.columns import meant
from ildfv.errors import InputError, check
from ildfv.parsing import read_csv
from ildfv.texture.images import SUFFIXES, Picture, check_same_units, read_image

SHOWN = 5  # names of further images in a message
COLUMNS = ("path", "label", "group")
GROUPS = ("subject", "subject id", "patient", "patient id", "person")  # names that are refused for "group"


@dataclass(frozen=True)
class Collection:
    """Paths of images with their classes and, if known, their groups (such as subjects, or samples of one surface).

    training_only: groups that leave-one-group-out never tests, because the set defines their images as training images.
    """

    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    training_only: frozenset[str] = frozenset()

    def __post_init__(self):
        check(len(self.paths) > 0, "a texture set must have at least one image, got none")
        ((path, number),) = Counter(os.path.abspath(path) for path in self.paths).most_common(1)
        check(number == 1, f"each image must be listed once, got {path} {number} times")

    @property
    def classes(self) -> list[str]:
        """The classes in alphabetical order."""
        return sorted(set(self.labels))

    def counts(self) -> dict[str, int]:
        """Number of images of each class."""
        return {name: self.labels.count(name) for name in self.classes}

    def check_classes(self, least: int) -> None:
        """Raises InputError unless there are at least two classes and each has at least `least` images."""
        check(len(self.classes) > 1, f"a texture set must have at least 2 classes, got only {self.classes[0]}")
        for name, number in self.counts().items():
            check(
                number >= least,
                f"class {name} must have at least {least} images for these splits, got {number}: add images, or choose "
                "fewer folds or training images per class",
            )


@dataclass(frozen=True)
class Survey:
    """What is known of a set of images after all have been read.

    digests: SHA-256 of size and values of each image. smallest: the smallest side of all images in pixels.
    """

    digests: tuple[str, ...]
    smallest: int

    def duplicates(self) -> list[list[int]]:
        """Lists of indices of images with equal pixels, in any file format."""
        found = defaultdict(list)
        for i, digest in enumerate(self.digests):
            found[digest].append(i)
        return [indices for indices in found.values() if len(indices) > 1]


def survey(paths: Sequence[Path]) -> Survey:
    """The survey of the images. All are read before an InputError reports those that cannot be used together."""
    found, errors = [], []
    first: Picture | None = None
    for path in paths:
        try:
            picture = read_image(path)
            first = first or picture
            check_same_units(first, picture)
            found.append((picture.digest(), min(picture.shape)))
        except InputError as error:
            errors.append((path, error))
    if len(errors) == 1:
        raise errors[0][1]
    if errors:
        others = [path.name for path, _ in errors[1:]]
        shown = ", ".join(others[:SHOWN]) + (f" and {len(others) - SHOWN} more" if len(others) > SHOWN else "")
        message = (
            f"all images must be usable, got {len(errors)} of {len(paths)} that are not: {errors[0][1]}; also {shown}"
        )
        raise InputError(message) from errors[0][1]
    return Survey(tuple(digest for digest, _ in found), min(side for _, side in found))


def images_in(folder: Path) -> list[Path]:
    """The image files below a folder, sorted by path, or `folder` itself if it is a file; InputError if none exists.

    Hidden files and folders are ignored.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    check(folder.is_dir(), f"{folder} must be an image or a folder of images, got a path that does not exist")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    check(len(found) > 0, f"{folder} must contain images ({', '.join(SUFFIXES)}), got none")
    return found


def by_folder(folder: Path) -> Collection:
    """Images in one folder per class, at any depth below it. InputError: no image, or images outside such folders."""
    folder = Path(folder)
    check(folder.is_dir(), f"{folder} must be a folder with one folder per class, got a path that is not a folder")
    paths = images_in(folder)
    loose = [path for path in paths if path.parent == folder]
    check(not loose, f"{folder} must contain only folders, one per class, got the image {loose[:1] and loose[0].name}")
    return Collection(tuple(paths), tuple(path.relative_to(folder).parts[0] for path in paths))


def by_table(table: Path, folder: Path) -> Collection:
    """Images of a CSV table with the columns path (relative to `folder`), label and, optionally, group.

    InputError: the table is invalid (the message on a row names its line), or lists an image twice.
    """
    table = Path(table)
    check(table.is_file(), f"{table} must be a CSV table, got a path that is not a file")
    lines = read_csv(table, "must be a CSV table in UTF-8")[1]
    names = lines[0][1] if lines else []
    rows = [(number, dict(zip(names, cells, strict=False))) for number, cells in lines[1:]]
    for name in COLUMNS[:2]:
        check(name in names, f"{table} must have the columns path and label, got {', '.join(names) or 'none'}")
    for name in [] if "group" in names else names:
        similar = meant(name, ["group"], {"group": GROUPS})
        check(not similar, f'{table}: column "{name}" may mean group: rename or delete it')
    twice = [name for name in COLUMNS if names.count(name) > 1]
    check(not twice, f"{table} must have each column once, got {', '.join(twice)} several times")
    check(len(rows) > 0, f"{table} must have at least one row, got none")
    paths = []
    for number, row in rows:
        for name in [c for c in COLUMNS if c in names]:
            check(bool(row.get(name, "").strip()), f"{table} must have a {name} in line {number}, got none")
        path = Path(folder) / row["path"].strip()
        check(path.is_file(), f"{table} must list images that exist, got {path} in line {number}")
        paths.append(path)
    groups = tuple(row["group"].strip() for _, row in rows) if "group" in names else None
    return Collection(tuple(paths), tuple(row["label"].strip() for _, row in rows), groups)


def grouped(collection: Collection) -> np.ndarray:
    """The groups as an array; InputError if there are none."""
    if collection.groups is None:
        raise InputError(
            "--leave-one-group-out needs the group of each image, got none: give --table with a column group"
        )
    return np.asarray(collection.groups)
