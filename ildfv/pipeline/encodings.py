"""The Fisher vectors of a whole slice set for one layer, and their PCA projection, as they lie in a workspace.

encodings/<layer>/fold-<k>/
    mixture/ pca/            models
    fisher/                  parts, float32 (m, 2·k·d); not kept where one vector is larger than FISHER_LIMIT
    projection/              parts, float32 (m, p), in the order of the slices
    encoding.json            settings and counts; written last: an encoding without it is unfinished
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import Path

import numpy as np

from ildfv.errors import InputError, check
from ildfv.pipeline.order import finished_last
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import MEND
from ildfv.store.checksummed import read_sealed
from ildfv.store.parts import MANIFEST, Parts

FINISHED = "encoding.json"
FISHER_LIMIT = 65536  # values: conv5 with 32 components has 16,384; fc6's 262,144 are never stored


class Encoding:
    """A finished encoding, for reading."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        if not (self.folder / FINISHED).exists():
            raise InputError(f"{folder} is no finished encoding: `ildfv encode` makes or finishes it")
        self.info = read_sealed(self.folder / FINISHED)
        self.layer: str = self.info["layer"]
        self.fold: int = self.info["fold"]
        # Encodings of experiments are named by their system, not their layer, and do not record a folder.
        own = Path(self.info.get("folder", f"fold-{self.fold}")).parts
        rule = f"{self.folder} must hold the encoding of its name"
        right = self.folder.absolute().parts[-len(own) :] == own
        check(right, f"{rule}, got that of {Path(*own)}: remove the folder and run `ildfv encode` again")

    def projections(self) -> np.ndarray:
        """The PCA projections of all slices, float32 (N, p), in the order of the slices."""
        return np.concatenate([rows for _, rows in self.parts()])

    def parts(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, np.ndarray]]:
        """(name, projections float32 (m, p)) of each part, or of those named, one at a time."""
        parts = self._made("projection")
        for name in parts.rows if names is None else names:
            yield name, _read(parts, name)

    def fisher_vectors(self, name: str) -> np.ndarray:
        """The Fisher vectors of one part, float32 (m, 2·k·d)."""
        return _read(self._made("fisher"), name)

    def check_made(self, parts: Parts) -> None:
        """InputError unless these parts were made of the slices that this encoding was made of, and of all of them."""
        inputs = self.info.get("inputs")  # those of experiments do not say
        if inputs is not None:
            key, count = inputs["slices"], self.info["slices"]
            rule = f"{parts.folder / MANIFEST} must list {count} slices of key {key}"
            check((parts.key, parts.count) == (key, count), f"{rule}, got {parts.count} of {parts.key}")

    def _made(self, name: str) -> Parts:
        parts = Parts(self.folder / name)
        self.check_made(parts)
        return parts


def _read(parts: Parts, name: str) -> np.ndarray:
    """The array of a part after a look at its hash: parts in each other's place are whole, and of other slices."""
    check(parts.intact(parts.rows[name]), f"{parts.path(name)} must be what was written there: {MEND}")
    with parts.open(name) as file:
        array = file[parts.folder.name]
        rule = f"{parts.path(name)} must hold float32 vectors of one length"
        check(array.ndim == 2 and array.dtype == np.float32, f"{rule}, got {array.dtype} of shape {array.shape}")
        return array[()]


def newest(workspace: Workspace, fold: int | None = None, layer: str | None = None) -> Encoding:
    """The encoding of the workspace recorded as finished last, of that fold and layer if given."""
    folder = workspace.encodings_dir
    pattern = f"{escape(layer) if layer else '*'}/fold-{'*' if fold is None else fold}/{FINISHED}"
    found = sorted(folder.glob(pattern))
    if not found:
        what = f" of layer {layer}" if layer else ""
        what += f" for fold {fold}" if fold is not None else ""
        raise InputError(
            f"{folder} holds no finished encoding{what}: `ildfv encode --layer {layer or 'conv1'}` makes one"
        )
    return Encoding(finished_last(workspace, found, "choose one by --layer and --fold").parent)
