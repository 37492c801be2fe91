"""Parameters of launches of csrc/cuda: kernel variants, division into pieces, shared memory."""

from __future__ import annotations

from typing import NamedTuple

from ildfv.errors import InputError

THREADS = 128  # per block, of all kernels except `finish`
FINISH_THREADS = 256
PLACES = ("resident", "wide", "huge")  # sums and posteriors in shared memory; posteriors only; neither
TENSOR = "tensor_"  # prefix of variants that use tensor cores
VARIANTS = (*PLACES, *(TENSOR + place for place in PLACES))
# Minimum number of components for which tensor cores are used. From there on, the scores take most of the time
# (estimated in bench/NOTES-cuda.md, not measured).
TENSOR_K = 128
SLACK = 2.0**-12  # as in screened.h: bound on the error of a score computed from split products, per unit of Σt² + Σb²
# Maximum distance of a mean from the centre, in standard deviations, for moments as matrix products; beyond it, they
# lose digits.
CLOSE = 4.0
MAX_D, MAX_K = 4096, 1024
PIECE = 512  # descriptors per block: 64 slices then occupy 132 multiprocessors, and writing sums takes little time
ROUND_BYTES = 256 << 20  # limit on the memory for the sums of the pieces of one round
# Shared memory in bytes that the driver reserves for each block from sm_80 on. The limit that a device reports already
# excludes this memory for one block.
RESERVED_BYTES = 1 << 10
GROUP, GROUP_BYTES = 64, 32 << 20  # limits on the number of pieces added at once when pooling, and on their memory


class Tile(NamedTuple):
    """The shape of FloatTile or DoubleTile of tile.h."""

    rows: int
    components: int
    dimensions: int
    bytes: int
    singles: int  # descriptors per block of spread_singles


TILES = {"float32": Tile(64, 32, 64, 4, 8), "float64": Tile(64, 32, 32, 8, 4)}


def shared_bytes(variant: str, real: str, k: int, d: int) -> int:
    """Bytes of dynamic shared memory of a block of `moments_<variant>_<real>`, for the layout in `moments_of`."""
    tile = TILES[real]
    segments, k4 = tile.rows // 32, -(-k // 4) * 4
    staged = (tile.rows + 2 * tile.components) * (tile.dimensions + 4)
    total = (staged + segments * k4) * tile.bytes + segments * k4 * 4
    if variant.startswith(TENSOR):
        warps = THREADS // 32
        total += (tile.rows * -(-k // 32) + warps) * 4 + warps * k4 * 2  # bits, counts and lists of near components
    place = variant.removeprefix(TENSOR)
    if place != "huge":
        total += tile.rows * padded(k) * tile.bytes
    if place == "resident":
        total += 2 * k * d * tile.bytes
    return total


def fitting_variants(real: str, k: int, d: int, limit: int) -> tuple[str, ...]:
    """The variants whose blocks fit in `limit` bytes of shared memory. Double precision does not use tensor cores."""
    kinds = VARIANTS if real == "float32" else PLACES
    return tuple(variant for variant in kinds if shared_bytes(variant, real, k, d) <= limit)


def singles_shared_bytes(real: str, k: int) -> tuple[int, int]:
    """Bytes of dynamic shared memory of `score_singles_<real>` and `spread_singles_<real>`."""
    tile = TILES[real]
    return (tile.rows + 2 * tile.components) * (tile.dimensions + 4) * tile.bytes, tile.singles * k * tile.bytes


def padded(k: int) -> int:
    """Row length of the posteriors: k rounded up to a multiple of 8, plus 4, which avoids bank conflicts."""
    return -(-k // 8) * 8 + 4


def choose(real: str, k: int, d: int, limit: int, *, tensor: bool = False) -> str:
    """The variant for a device with `limit` bytes of shared memory per block; tensor: whether to use tensor cores.

    Sums are kept in shared memory if two blocks then fit on a multiprocessor. On devices with 64 KB of shared memory,
    where two blocks never fit, one block is sufficient.
    """
    kind = TENSOR if tensor else ""
    if shared_bytes(kind + "resident", real, k, d) <= (limit if limit <= 64 << 10 else (limit - RESERVED_BYTES) // 2):
        return kind + "resident"
    return kind + ("wide" if shared_bytes(kind + "wide", real, k, d) <= limit else "huge")


def check_size(k: int, d: int) -> None:
    """Raises InputError for sizes that the kernels do not support."""
    if d > MAX_D or k > MAX_K:
        raise InputError(f"a mixture on the GPU must have d ≤ {MAX_D} and k ≤ {MAX_K}, got d = {d}, k = {k}")


def cut(n: int, k: int) -> tuple[int, int]:
    """Number of pieces of a map with n descriptors, and descriptors per piece (the last may have fewer).

    Both depend on n and k only, so that the order of additions is the same in any batch on any device. Pieces are
    larger for a larger k, because their sums are larger too.
    """
    rows = TILES["float32"].rows
    pieces = -(-n // max(PIECE, 4 * k))
    return pieces, -(-n // (pieces * rows)) * rows


def piece_bytes(k: int, d: int, real: str) -> int:
    """Size of the sums of one piece in bytes."""
    return (k + 2 * k * d) * TILES[real].bytes


def group(k: int, d: int, real: str) -> int:
    """Pieces added at once when pooling: a function of k, d and `real` only, so the order of additions is fixed."""
    return max(1, min(GROUP, GROUP_BYTES // piece_bytes(k, d, real)))
