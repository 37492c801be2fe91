"""The weights of frozen networks that encodings were made with: given files, or files that a package installs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ildfv.errors import InputError
from ildfv.pipeline.choices import FROZEN
from ildfv.store.atomic import sha256


def recorded_weights(network: str, digest: str, weights: Sequence[Path], encoding: Path) -> Path:
    """The file with the weights that an encoding was made with: a given file, or the file that a package installs.

    digest: the SHA-256 that the encoding records. InputError: no file has this checksum.
    """
    found = _with_checksum(network, digest, weights)
    if found is None:
        got = f"got {', '.join(map(str, weights))}" if weights else "got none"
        rule = f"{encoding} needs the weights of {network} with SHA-256 {digest}"
        raise InputError(f"{rule}, {got}: give the file with --weights")
    return found


def has_weights(inputs: dict, weights: Sequence[Path]) -> bool:
    """Whether an encoding with these inputs can be computed for other slices.

    True unless the encoding was made with a frozen network whose weights are neither given nor installed.
    """
    network = str(inputs.get("model", ""))
    if not network.endswith(FROZEN):
        return True
    return _with_checksum(network.removesuffix(FROZEN), inputs["model_sha256"], weights) is not None


def _with_checksum(network: str, digest: str, weights: Sequence[Path]) -> Path | None:
    from ildfv.train.pretrained import is_available, packaged_weights

    files = {sha256(Path(path)): Path(path) for path in weights}
    if is_available(network):
        packaged = packaged_weights(network)
        files.setdefault(sha256(packaged), packaged)
    return files.get(digest)
