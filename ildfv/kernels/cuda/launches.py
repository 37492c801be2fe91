"""Launch arithmetic for csrc/cuda: kernel variants, pieces, shared memory."""

from __future__ import annotations

from typing import NamedTuple

from ildfv.errors import InputError

THREADS = 128  # per block, of all kernels except `finish`
FINISH_THREADS = 256
PLACES = ("resident", "wide", "huge")  # sums and posteriors in shared memory; posteriors only; neither
TENSOR = "tensor_"  # prefix of variants that use tensor cores
VARIANTS = (*PLACES, *(TENSOR + place for place in PLACES))
TENSOR_K = 128  # minimum components for which scores dominate; estimated in bench/NOTES-cuda.md, not measured
SLACK = 2.0**-12  # as in mma.h: bound on the error of a score by split products, per unit of Σt² + Σb²
CLOSE = 4.0  # standard deviations from the centre: for means farther away, moments as products lose digits
MAX_D, MAX_K = 4096, 1024
PIECE = 512  # descriptors per block: few enough to fill 132 multiprocessors with 64 slices, enough to amortise sums
ROUND_BYTES = 256 << 20  # limit on the pieces' sums of one round
RESERVED_BYTES = (
    1 << 10
)  # of shared memory, reserved by the driver for each block from sm_80 on; the first block's are not in the limit
GROUP, GROUP_BYTES = 64, 32 << 20  # limits on the pieces added at once when pooling, and on their sums


class Tile(NamedTuple):
    """FloatTile and DoubleTile of moments.cu."""

    rows: int
    components: int
    dimensions: int
    bytes: int
    singles: int  # descriptors per block of spread_singles


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


def fitting_variants(real: str, k: int, d: int, limit: int) -> tuple[str, ...]:
    """The variants whose blocks fit in `limit` bytes of shared memory. Double precision does not use tensor cores."""
    kinds = VARIANTS if real == "float32" else PLACES
    return tuple(variant for variant in kinds if shared_bytes(variant, real, k, d) <= limit)


def singles_shared_bytes(real: str, k: int) -> tuple[int, int]:
    """Dynamic shared memory of `score_singles_<real>` and `spread_singles_<real>`."""
    tile = TILES[real]
    return (tile.rows + 2 * tile.components) * (tile.dimensions + 4) * tile.bytes, tile.singles * k * tile.bytes


def padded(k: int) -> int:
    """Row length of the posteriors: 4 mod 8, which avoids bank conflicts."""
    return -(-k // 8) * 8 + 4


def choose(real: str, k: int, d: int, limit: int, *, tensor: bool = False) -> str:
    """The variant for a device with `limit` bytes of shared memory per block; tensor: whether to use tensor cores.

    Sums are kept in shared memory if two blocks still fit on a multiprocessor, or one on devices with 64 KB, where no
    variant has room for two.
    """
    kind = TENSOR if tensor else ""
    if shared_bytes(kind + "resident", real, k, d) <= (limit if limit <= 64 << 10 else (limit - RESERVED_BYTES) // 2):
        return kind + "resident"
    return kind + ("wide" if shared_bytes(kind + "wide", real, k, d) <= limit else "huge")


def check_size(k: int, d: int) -> None:
    """InputError for sizes that the kernels do not support."""
    if d > MAX_D or k > MAX_K:
        raise InputError(f"a mixture on the GPU must have d ≤ {MAX_D} and k ≤ {MAX_K}, got d = {d}, k = {k}")


def cut(n: int, k: int) -> tuple[int, int]:
    """Number of pieces of a map with n descriptors, and descriptors per piece (the last may have fewer).

    Both depend on n and k only, so that the order of additions is the same in any batch on any device. Pieces grow with
    k, as their sums do.
    """
    rows = TILES["float32"].rows
    pieces = -(-n // max(PIECE, 4 * k))
    return pieces, -(-n // (pieces * rows)) * rows


def piece_bytes(k: int, d: int, real: str) -> int:
    """Size of the sums of one piece in bytes."""
    return (k + 2 * k * d) * TILES[real].bytes


def group(k: int, d: int, real: str) -> int:
    """Pieces added at once when pooling. It depends on the mixture's size only, which fixes the order of additions."""
    return max(1, min(GROUP, GROUP_BYTES // piece_bytes(k, d, real)))
