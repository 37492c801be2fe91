"""The pictures in docs/layouts.md agree with the pairing: every arrow is a pair."""

import re
from pathlib import Path

import numpy as np
import pytest

from ildfv.datasets.naming import is_label_map
from ildfv.datasets.pairing import pair
from ildfv.datasets.records import Label, Scan
from ildfv.scans.dicom import Series
from ildfv.scans.geometry import Geometry

PAGE = (Path(__file__).parents[2] / "docs" / "layouts.md").read_text()
ROOT = Path("/data")
GRID = Geometry((6, 64, 64), np.zeros(3), np.diag([5.0, 4.0, 4.0]))
LINE = re.compile(r"(?P<indent>[│├└─ ]*)(?P<name>[\w.\-/]+)(?P<series> …)?\s*(?:→ (?P<scan>[\w.\-/]+))?(?P<text>.*)")


def trees():
    """The lines of each picture that has arrows, with the title as test id."""
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        picture = re.search(r"```\n(.*?)```", text, re.DOTALL)
        if picture and "→" in picture[1]:
            yield pytest.param(picture[1].splitlines(), id=title)


def read(lines):
    """Scans, label maps and {label map: name of its scan} of a picture; paths are relative to the top folder."""
    scans, labels, arrows, folders = [], [], {}, {-1: Path()}
    for line in lines:
        match = LINE.fullmatch(line)
        depth = len(match["indent"]) // 4
        path = folders[depth - 1] / match["name"] if depth else Path()
        if match["name"].endswith("/"):
            folders[depth] = path
        elif match["series"]:
            uid = re.search(r"\(SeriesInstanceUID ([\d.]+)\)", match["text"])
            series = Series((), GRID, "", uid[1] if uid else str(path), "", ())
            folder = ROOT / path.parent
            scans.append(Scan(folder, "dicom", "", series.series, GRID, (folder / "1", folder / "2"), series))
        elif is_label_map(path):
            labels.append(Label(ROOT / path, "nifti", GRID))
            if match["scan"]:
                arrows[path] = match["scan"].rstrip("/")
        else:
            scans.append(Scan(ROOT / path, "nifti", "", str(path), GRID, (ROOT / path,)))
    return scans, labels, arrows


@pytest.mark.parametrize("lines", list(trees()))
def test_every_arrow_is_a_pair(lines):
    scans, labels, arrows = read(lines)
    assert arrows
    masks = {"ground_glass.nii.gz", "emphysema.nii.gz"}
    result = pair(scans, labels, root=ROOT, is_structure=lambda path: path.name in masks)
    found = {
        label.path.relative_to(ROOT): scans[i].source.relative_to(ROOT).as_posix()
        for i, maps in result.labels.items()
        for label in maps
    }
    assert set(found) == set(arrows)
    for label, scan in arrows.items():
        assert found[label].endswith(scan), (label, found[label])


def test_the_page_has_a_picture_of_each_layout():
    assert len(list(trees())) == 9
