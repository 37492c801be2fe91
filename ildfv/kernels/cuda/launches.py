"""Which kernel, over which pieces, with how much shared memory: the arithmetic of csrc/cuda for its launchers."""

from __future__ import annotations

from typing import NamedTuple

from ildfv.errors import InputError

THREADS = 128  # a block of every kernel but `finish`
FINISH_THREADS = 256
PLACES = ("resident", "wide", "huge")  # sums and posteriors in shared memory; posteriors only; neither
TENSOR = "tensor_"  # and the products on tensor cores
VARIANTS = (*PLACES, *(TENSOR + place for place in PLACES))
TENSOR_K = 128  # components from which scores outweigh all else: see bench/NOTES-cuda.md, a prediction
SLACK = 2.0**-12  # of tensor.h: what split products may cost a score, for each unit of Σt² + Σb²
CLOSE = 4.0  # standard deviations from the centre: moments of means beyond lose digits when taken as products
MAX_D, MAX_K = 4096, 1024
PIECE = 512  # descriptors a block: few enough for 132 multiprocessors at 64 slices, many enough that sums cost little
ROUND_BYTES = 256 << 20  # of pieces' sums at a time, where the device has that much
GROUP, GROUP_BYTES = 64, 32 << 20  # pieces added at once when pooling, and what their sums may take


class Tile(NamedTuple):
    """FloatTile and DoubleTile of moments.cu."""

    rows: int
    components: int
    dimensions: int
    bytes: int
    singles: int  # descriptors a block of spread_singles


TILES = {"float32": Tile(64, 32, 64, 4, 8), "float64": Tile(64, 32, 32, 8, 4)}


def shared_bytes(variant: str, real: str, k: int, d: int) -> int:
    """Dynamic shared memory of one block of `moments_<variant>_<real>`, laid out as `moments_of` in moments.cu does."""
    tile = TILES[real]
    segments, k4 = tile.rows // 32, -(-k // 4) * 4
    staged = (tile.rows + 2 * tile.components) * (tile.dimensions + 4)
    total = (staged + segments * k4) * tile.bytes + segments * k4 * 4
    if variant.startswith(TENSOR):
        warps = THREADS // 32
        total += (tile.rows * -(-k // 32) + warps) * 4 + warps * k4 * 2  # near components: bits, counts, lists
    place = variant.removeprefix(TENSOR)
    if place != "huge":
        total += tile.rows * padded(k) * tile.bytes
    if place == "resident":
        total += 2 * k * d * tile.bytes
    return total


def singles_shared_bytes(real: str, k: int) -> tuple[int, int]:
    """Dynamic shared memory of `score_singles_<real>` and `spread_singles_<real>`."""
    tile = TILES[real]
    return (tile.rows + 2 * tile.components) * (tile.dimensions + 4) * tile.bytes, tile.singles * k * tile.bytes


def padded(k: int) -> int:
    """Row length of the posteriors: 4 mod 8, against bank conflicts."""
    return -(-k // 8) * 8 + 4


def choose(real: str, k: int, d: int, limit: int, *, tensor: bool = False) -> str:
    """The variant for a device whose blocks may have `limit` bytes of shared memory; tensor: with its tensor cores.

    Sums stay in shared memory while two blocks still fit on a multiprocessor, or one where 64 KB is all there is.
    """
    kind = TENSOR if tensor else ""
    if shared_bytes(kind + "resident", real, k, d) <= max(limit // 2, min(limit, 64 << 10)):
        return kind + "resident"
    return kind + ("wide" if shared_bytes(kind + "wide", real, k, d) <= limit else "huge")


def check_size(k: int, d: int) -> None:
    """What the kernels are built and tested for."""
    if d > MAX_D or k > MAX_K:
        raise InputError(f"a mixture on the GPU must have d ≤ {MAX_D} and k ≤ {MAX_K}, got d = {d}, k = {k}")


def cut(n: int, k: int) -> tuple[int, int]:
    """Number of pieces of a map of n descriptors, and descriptors a piece (the last may have fewer).

    Of n and k alone: equal maps are added up in one order in any batch on any device. More components make a piece's
    sums larger, so pieces grow with k.
    """
    rows = TILES["float32"].rows
    pieces = -(-n // max(PIECE, 4 * k))
    return pieces, -(-n // (pieces * rows)) * rows


def piece_bytes(k: int, d: int, real: str) -> int:
    """What the sums of one piece take."""
    return (k + 2 * k * d) * TILES[real].bytes


def group(k: int, d: int, real: str) -> int:
    """Pieces added at once when pooling; of the mixture's size alone, so that pooled sums are added in one order."""
    return max(1, min(GROUP, GROUP_BYTES // piece_bytes(k, d, real)))
