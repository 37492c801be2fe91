"""The encoding of a workspace's slices by one layer: the vectors of all slices and their PCA projections.

encodings/<layer>/fold-<k>/
    mixture/ or codebook/    the model of the encoder, if it has one
    pca/                     model
    fisher/                  vectors, in parts of float32 (m, length), with length 2·k·d for Fisher vectors; not stored
                             if a vector is longer than FISHER_LIMIT
    projection/              projections, in parts of float32 (m, p)
    encoding.json            settings and counts; written last, so an encoding without it is not finished
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from glob import escape
from pathlib import Path

import numpy as np

from ildfv.counted import counted, joined
from ildfv.errors import InputError, check
from ildfv.pipeline.choices import REGIONS, SLICE
from ildfv.pipeline.encode_command import command_of_name, layer_and_region
from ildfv.pipeline.order import finished_last
from ildfv.pipeline.regions import check_region
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import MEND
from ildfv.store.checksummed import read_checksummed
from ildfv.store.parts import MANIFEST, Parts

FINISHED = "encoding.json"
FISHER_LIMIT = 65536  # values per vector; with 32 components, conv5 has 16,384 and fc6 has 262,144


class Encoding:
    """A finished encoding, read-only.

    InputError: the encoding is not finished, encoding.json is corrupt, or the folder is a copy of another encoding.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        if not (self.folder / FINISHED).exists():
            raise InputError(f"{folder} is not a finished encoding: run `ildfv encode` to create or finish it")
        self.info = read_checksummed(self.folder / FINISHED)
        self.layer: str = self.info["layer"]
        self.fold: int = self.info["fold"]
        self.region: str = self.info.get("region", SLICE)
        # Encodings of experiments are named after their system, not their layer, and do not record a folder.
        own = Path(self.info.get("folder", f"fold-{self.fold}")).parts
        rule = f"{self.folder} must contain the encoding that was written to it"
        right = self.folder.absolute().parts[-len(own) :] == own
        check(right, f"{rule}, got a copy of {Path(*own)}: remove the folder and run `ildfv encode` again")

    def projections(self) -> np.ndarray:
        """The PCA projections of all slices, float32 (N, p), in slice order."""
        return np.concatenate([rows for _, rows in self.parts()])

    def parts(self, names: Sequence[str] | None = None) -> Iterator[tuple[str, np.ndarray]]:
        """Yields (name, projections float32 (m, p)) of each part in slice order, or of the parts in `names`."""
        parts = self._made("projection")
        for name in parts.rows if names is None else names:
            yield name, _read(parts, name)

    def fisher_vectors(self, name: str) -> np.ndarray:
        """The vectors of one part, float32 (m, length). They must be stored, see FISHER_LIMIT."""
        return _read(self._made("fisher"), name)

    def check_made(self, parts: Parts) -> None:
        """Raises InputError unless the parts were made from exactly the slices of this encoding."""
        key, count = self.inputs["slices"], self.info["slices"]
        rule = f"{parts.folder / MANIFEST} must list {counted(count, 'slice')} with the key {key}"
        got = f"got {parts.count} with the key {parts.key}: remove {self.folder} and encode again"
        check((parts.key, parts.count) == (key, count), f"{rule}, {got}")

    @property
    def inputs(self) -> dict:
        """The settings and inputs from which the encoding was made. InputError: encoding.json does not record them."""
        rule = f"{self.folder / FINISHED} must record its inputs, got none (ildfv 0.1 did not record them)"
        check("inputs" in self.info, f"{rule}: remove {self.folder} and encode again")
        return self.info["inputs"]

    def _made(self, name: str) -> Parts:
        parts = Parts(self.folder / name)
        self.check_made(parts)
        return parts


def _read(parts: Parts, name: str) -> np.ndarray:
    """The array of a part. The checksum is verified, because the file may have been replaced by another part's file."""
    intact = parts.intact(parts.rows[name])
    check(intact, f"{parts.path(name)} must be intact, got a checksum mismatch: {MEND}")
    with parts.open(name) as file:
        array = file[parts.folder.name]
        rule = f"{parts.path(name)} must contain float32 vectors of equal length"
        check(array.ndim == 2 and array.dtype == np.float32, f"{rule}, got {array.dtype} of shape {array.shape}")
        return array[()]


def encoding_of(
    workspace: Workspace,
    fold: int | None,
    layer: str | None,
    region: str,
    *,
    usable: Callable[[Encoding], bool] | None = None,
) -> Encoding:
    """The newest encoding of the given layer and region or, if `layer` is None, of any layer and region.

    usable: as for `newest`; ignored if a layer is given.

    Raises
    ------
    InputError
        The region is unknown or is given without a layer, or `newest` finds no encoding.
    """
    check_region(region, "rule")
    check(layer is not None or region == SLICE, f"--region {region} needs a layer, got none: add --layer")
    if layer is None:
        return newest(workspace, fold, usable=usable)
    return newest(workspace, fold, workspace.encoding_dir(layer, 0, region).parent.name)


def newest(
    workspace: Workspace,
    fold: int | None = None,
    layer: str | None = None,
    *,
    usable: Callable[[Encoding], bool] | None = None,
) -> Encoding:
    """The encoding that was finished last, of all encodings or of those with the given fold and layer.

    layer: name of the folder of the encodings, such as "conv1-lung" for the region lung (`Workspace.encoding_dir`).
    usable: function of an encoding. Encodings for which it returns false are considered only if there are no others.

    Raises
    ------
    InputError
        There is no such encoding, its files are corrupt or not in their own folder, or there are several encodings and
        the order in which they were finished is not recorded.
    """
    folder = workspace.encodings_dir
    pattern = f"{escape(layer) if layer else '*'}/fold-{'*' if fold is None else fold}/{FINISHED}"
    found = sorted(folder.glob(pattern))
    if not found:
        what = f" of {layer}" if layer else ""
        what += f" for fold {fold}" if fold is not None else ""
        other = [] if layer is None else _other_regions(workspace, fold, layer)
        choose = f"there is one with {joined(other)}; choose it, or " if other else ""
        run = f"run `{command_of_name(layer or 'conv1', fold)}`"
        raise InputError(f"{folder} has no finished encoding{what}: {choose}{run}")
    if usable is not None:
        found = [path for path in found if usable(Encoding(path.parent))] or found
    return Encoding(finished_last(workspace, found, "choose one with --layer and --fold").parent)


def _other_regions(workspace: Workspace, fold: int | None, name: str) -> list[str]:
    """The finished encodings of the same layer and fold in other regions, such as "--region lung".

    name: name of the folder of the encodings, as for `newest`.
    """
    layer, region = layer_and_region(name)
    found = []
    for other in (one for one in REGIONS if one != region):
        folder = workspace.encoding_dir(layer, 0, other).parent
        if any(folder.glob(f"fold-{'*' if fold is None else fold}/{FINISHED}")):
            found.append(f"--region {other}")
    return found
