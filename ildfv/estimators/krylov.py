"""Leading eigenvectors of a matrix too large for memory, from a few products with it (Musco & Musco 2015)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import pinvh, qr

ROWS = 8192  # rows of the float32 basis converted to float64 at a time: a converted copy would triple the memory

ROUNDING = 1e-6  # eigenvalues below this fraction of the largest are float32 rounding errors and are not inverted


def leading_eigenvectors(
    product: Callable[[np.ndarray], np.ndarray], d: int, n_components: int, *, n_passes: int, basis_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Leading eigenvalues and eigenvectors of a positive semidefinite (d, d) operator.

    The first product maps random directions into the range of the matrix, and each product gives the next block of the
    basis. The matrix projected on the basis is then known, except for the part that belongs to the last block alone.
    This part is set to the smallest value that keeps the projected matrix positive (Nyström), so that, except for
    rounding, no eigenvalue is overestimated. The basis is float32; the products and the projected matrix are float64.

    Parameters
    ----------
    product : callable
        Maps a block (d, l) to matrix × block (d, l); called `n_passes` times with l = basis_size / n_passes.
    d, n_components : int
    n_passes : int
        At least 2.
    basis_size : int
        basis_size · (n_passes − 1) / n_passes must be at least n_components.
    seed : int

    Returns
    -------
    eigenvalues : ndarray of shape (n_components,)
        In descending order.
    eigenvectors : ndarray of shape (n_components, d), float32
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
        more = max(0, stop - start - image.shape[1])  # block widths differ by at most one
        block = np.hstack([image, random.standard_normal((d, more))])[:, : stop - start]
        basis[:, start:stop] = _orthonormal(block, basis[:, :start], random)
        if start > 0:  # products with the previous block
            projected[start:stop, before:start] = _inner(basis[:, start:stop], image)
            projected[before:start, start:stop] = projected[start:stop, before:start].T
        if after is not None:
            del block, image  # blocks may be as large as memory allows: free them before the next product
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
    """Orthonormal columns that span the part of `block` orthogonal to `basis`; random ones if its rank is deficient."""
    for _ in range(3):  # two passes are enough (Giraud et al. 2005); the third is for random columns
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
