"""Assignment of ITK-SNAP label descriptions, which name the values of a label map, to label maps.

A description belongs to the label map with the same name in its folder. If there is no such label map, it belongs to
all label maps in the folder. If a folder has two such descriptions, they are ambiguous and its label maps are refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ildfv.datasets.naming import path_name, reduced, stem
from ildfv.datasets.records import Label, LabelNames, Unused

UNUSED = "a label description of ITK-SNAP without a label map in its folder"


def described(labels: Sequence[Label], found: Sequence[LabelNames]) -> tuple[list[Label], list[Unused]]:
    """The label maps with the names of their values, and an entry for each description without a label map."""
    by_folder: dict[Path, list[LabelNames]] = defaultdict(list)
    for one in found:
        by_folder[one.path.parent].append(one)
    numbered = [label for label in labels if label.geometry is not None and not label.segments]
    names = {(label.path.parent, _name(label.path.name)) for label in numbered}
    result: list[Label] = []
    used: set[Path] = set()
    for label in labels:
        here = by_folder.get(label.path.parent, []) if label in numbered else []
        own = [one for one in here if _name(one.path.stem) == _name(label.path.name)]
        own = own or [one for one in here if (one.path.parent, _name(one.path.stem)) not in names]
        used.update(one.path for one in own)
        if len(own) > 1:
            files = " and ".join(sorted(one.path.name for one in own)[:2])
            fault = f"a label map must have one label description, got {files}: name one of them like the label map"
            result.append(replace(label, geometry=None, fault=fault))
        elif own and own[0].fault:
            result.append(replace(label, geometry=None, fault=own[0].fault))
        elif own:
            result.append(replace(label, names=own[0].names, description=own[0].path))
        else:
            result.append(label)
    return result, [Unused(one.path, UNUSED, quarantined=False) for one in found if one.path not in used]


def _name(file: str) -> str:
    """The name of a file without suffixes, and without words for a kind of data or content if others remain."""
    name = path_name(Path(stem(file))).name
    return reduced(name) or name
