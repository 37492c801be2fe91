"""A small set of textures."""

import csv

import numpy as np
import pytest

from ildfv.texture import encoder as encoder_module
from ildfv.texture.generated import generate


@pytest.fixture
def small_sample(monkeypatch):
    monkeypatch.setattr(encoder_module, "SAMPLE", 1000)


@pytest.fixture
def folder(tmp_path, small_sample):
    """Two classes of four subjects, as .npy, and a table with the subjects as groups."""
    images, labels, groups = generate(4, 1, size=20, contrast=0.9)
    rows = []
    for i, (image, label, group) in enumerate(zip(images, labels, groups, strict=True)):
        if label in ("coarse", "fine"):
            path = tmp_path / "set" / label / f"{i:02}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, image)
            rows.append((path.relative_to(tmp_path / "set").as_posix(), label, group))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    return tmp_path
