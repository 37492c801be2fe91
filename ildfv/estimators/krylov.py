"""Leading eigenvectors of a matrix too large to hold, from a few products with it (Musco & Musco 2015)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import pinvh, qr

ROWS = 8192  # rows of the basis read at once: float64 beside float32 would copy it whole, to twice its size

ROUNDING = 1e-6  # eigenvalues below this share of the largest are float32's rounding errors: not to be divided by


def leading_eigenvectors(
    product: Callable[[np.ndarray], np.ndarray], d: int, n_components: int, *, n_passes: int, basis_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (n_components,), falling, and eigenvectors (n_components, d) float32 of a positive (d, d) operator.

    product: a block (d, l) to matrix × block (d, l), called n_passes ≥ 2 times with l = basis_size / n_passes
    directions. The first product only leads from chance into the range of the matrix. The products of all later
    blocks are known, the last block's with itself excepted: there the least value stands that keeps the matrix
    positive (Nyström), so no eigenvalue comes out too large but for rounding. basis_size · (n_passes − 1) / n_passes
    must reach n_components. The basis is held in float32, the products and the small matrix are float64.
    """
    basis_size = min(d, max(basis_size, n_components, n_passes))
    edges = np.linspace(0, basis_size, n_passes + 1).round().astype(int)
    widths = np.diff(edges)
    basis = np.empty((d, basis_size), dtype=np.float32)
    projected = np.zeros((basis_size, basis_size))  # basisᵀ · matrix · basis
    random = np.random.default_rng(seed)
    image = product(random.standard_normal((d, widths.max()), dtype=np.float32))
    before = 0
    for start, stop, after in zip(edges[:-1], edges[1:], [*edges[2:], None], strict=True):
        more = max(0, stop - start - image.shape[1])  # widths differ by one at most
        block = np.hstack([image, random.standard_normal((d, more))])[:, : stop - start]
        basis[:, start:stop] = _orthonormal(block, basis[:, :start], random)
        if start > 0:  # the block before, seen from this one
            projected[start:stop, before:start] = _inner(basis[:, start:stop], image)
            projected[before:start, start:stop] = projected[start:stop, before:start].T
        if after is not None:
            del block, image  # blocks are as large as memory allows
            image = product(basis[:, start:stop])  # (d, l)
            projected[:stop, start:stop] = _inner(basis[:, :stop], image)
            projected[start:stop, :start] = projected[:start, start:stop].T
        before = start
    known, cross = projected[:start, :start], projected[start:, :start]
    known += known.T.copy()
    known /= 2
    projected[start:, start:] = cross @ pinvh(known, rtol=ROUNDING) @ cross.T
    values, vectors = np.linalg.eigh(projected)
    order = np.argsort(values)[::-1][:n_components]
    vectors = vectors[:, order].astype(np.float32)
    components = np.empty((n_components, d), dtype=np.float32)
    for rows in _chunks(d):
        components[:, rows] = (basis[rows] @ vectors).T
    return np.maximum(values[order], 0.0), components


def _orthonormal(block: np.ndarray, basis: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Orthonormal columns that span `block` beside `basis`; where block has no more to give, directions by chance."""
    for _ in range(3):  # twice is enough (Giraud et al. 2005), and once more after directions were replaced
        length = np.linalg.norm(block, axis=0)
        shares = _inner(basis, block)
        for rows in _chunks(len(block)):
            block[rows] -= basis[rows] @ shares
        block, remains = qr(block, mode="economic", overwrite_a=True, check_finite=False)
        lost = np.abs(np.diag(remains)) <= ROUNDING * length
        block[:, lost] = random.standard_normal((len(block), int(lost.sum())))
    return block


def _inner(basis: np.ndarray, block: np.ndarray) -> np.ndarray:
    """basisᵀ · block in float64."""
    return sum(
        (basis[rows].T @ block[rows] for rows in _chunks(len(block))), np.zeros((basis.shape[1], block.shape[1]))
    )


def _chunks(d: int) -> list[slice]:
    return [slice(row, row + ROWS) for row in range(0, d, ROWS)]
