"""Exact nearest-neighbour search in the rows of a large matrix, with FAISS if it is installed.

A search reads all rows, so its speed is limited by memory bandwidth. FAISS therefore searches a float16 copy, which has
half as many bytes. The distances of the best candidates are then recomputed from the float32 rows. The largest rounding
error of a row bounds the difference between the two distances. Candidates are added until no other row can be among the
results.
"""

from __future__ import annotations

import numpy as np

from ildfv.errors import check
from ildfv.extras import is_installed

CANDIDATES = 64  # initial number of candidates, enough for 10 results unless many distances are almost equal
LARGEST = 60_000.0  # with larger values, FAISS is not used, because float16 values are at most 65,504
CHUNK = 8192  # number of rows that are reconstructed at once
ROUNDING = 1e-4  # relative error of a distance that is computed in float32


class NearestRows:
    """Search for the nearest rows by Euclidean distance.

    Parameters
    ----------
    rows : ndarray of shape (N, p), float32
    use_faiss : bool, optional
        Whether to use FAISS; by default, if it is installed. FAISS is not used if an absolute value is 60,000 or more.
        Without FAISS, NumPy reads all rows for each query.

    Raises
    ------
    InputError
        There are no rows, their shape is wrong, or a value is not finite.
    """

    def __init__(self, rows: np.ndarray, *, use_faiss: bool | None = None):
        self.rows = np.ascontiguousarray(rows, dtype=np.float32)
        check(self.rows.ndim == 2 and len(self.rows) > 0, f"rows must have shape (N, p), got {self.rows.shape}")
        check(bool(np.isfinite(self.rows).all()), "rows must be finite, got NaN or infinity")
        small = float(np.abs(self.rows).max()) < LARGEST
        self.uses_faiss = small and (is_installed("faiss") if use_faiss is None else use_faiss)
        if self.uses_faiss:
            self._index, self._error = _float16_index(self.rows)
        else:
            self._squares = np.einsum("ij,ij->i", self.rows, self.rows)
            self._error = 0.0

    def search(
        self,
        query: np.ndarray,
        count: int,
        *,
        excluded: np.ndarray | None = None,
        owners: np.ndarray | None = None,
        per_owner: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Indices and distances of the nearest rows, nearest first. Of equally near rows, lower indices come first.

        Parameters
        ----------
        query : ndarray of shape (p,)
        count : int
            Maximum number of results.
        excluded : ndarray of shape (N,), bool, optional
            Rows to exclude from the results.
        owners : ndarray of shape (N,), optional
            Owner of each row, such as the patient. Used with `per_owner`.
        per_owner : int, optional
            Maximum number of results per owner.

        Returns
        -------
        indices : ndarray of shape (m,), int64
        distances : ndarray of shape (m,), float64

        Raises
        ------
        InputError
            The shape of the query is wrong, or count is less than 1.
        """
        query = np.ascontiguousarray(query, dtype=np.float32)
        check(query.shape == self.rows.shape[1:], f"query must have shape {self.rows.shape[1:]}, got {query.shape}")
        check(count >= 1, f"count must be at least 1, got {count}")
        excluded = np.zeros(len(self.rows), bool) if excluded is None else np.asarray(excluded, dtype=bool)
        wanted = CANDIDATES + int(excluded.sum())
        while True:
            candidates, beyond = self._candidates(query, wanted)
            candidates = candidates[~excluded[candidates]]
            distances = np.linalg.norm(self.rows[candidates].astype(np.float64) - query, axis=1)
            order = np.lexsort((candidates, distances))
            if per_owner is not None and owners is not None:
                order = order[_among_first(np.asarray(owners)[candidates[order]], per_owner)]
            order = order[:count]
            complete = len(order) == count and distances[order[-1]] < beyond
            if complete or wanted >= len(self.rows):
                return candidates[order], distances[order]
            wanted *= 4

    def _candidates(self, query: np.ndarray, wanted: int) -> tuple[np.ndarray, float]:
        """(indices of the nearest `wanted` rows, a lower bound of the distances of all other rows)."""
        wanted = min(wanted, len(self.rows))
        if self.uses_faiss:
            squares, indices = self._index.search(query[None], wanted)
            rough, indices = np.sqrt(np.maximum(squares[0], 0)), indices[0]
            last = float(rough[-1])
        else:
            squares = self._squares - 2 * (self.rows @ query)
            indices = np.argpartition(squares, wanted - 1)[:wanted] if wanted < len(squares) else np.arange(wanted)
            size = float(query @ query)
            # The rounding error of a difference of squares is proportional to the squares, not to the difference.
            loss = ROUNDING * (size + float(self._squares[indices].max()))
            last = float(np.sqrt(max(0.0, float(squares[indices].max()) + size - loss)))
        return indices.astype(np.int64), last * (1 - ROUNDING) - self._error


def _float16_index(rows: np.ndarray):
    """(index of a float16 copy of the rows, the largest distance of a row from its copy)."""
    import faiss

    index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2)
    index.add(rows)
    error = 0.0
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        copy = index.reconstruct_n(start, len(part))
        error = max(error, float(np.linalg.norm(part - copy, axis=1).max()))
    return index, error * (1 + ROUNDING)


def _among_first(owners: np.ndarray, number: int) -> np.ndarray:
    """The positions of the elements that are among the first `number` elements of their owner."""
    seen: dict = {}
    kept = []
    for position, owner in enumerate(owners.tolist()):
        seen[owner] = seen.get(owner, 0) + 1
        if seen[owner] <= number:
            kept.append(position)
    return np.array(kept, dtype=np.int64)
