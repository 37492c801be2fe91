"""Validated batches of descriptors from arrays, arrays on disk and restartable streams."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from ildfv.arrays import check_real, dtype_name, is_array, namespace, to_numpy
from ildfv.counted import counted
from ildfv.errors import InputError, check
from ildfv.estimators.images import IF_IMAGES, check_not_image
from ildfv.estimators.joined import joined
from ildfv.estimators.layouts import LAYOUTS, NATIVE, check_place, count, features, itemsize, take
from ildfv.weighted import Weighted

BATCH_BYTES = 1 << 24  # 65,536 rows of 64 float32: larger than the cache, small compared with memory
RUN_ROWS = 16  # consecutive rows per read when sampling an array: well spread, but with few seeks


def is_stream(x) -> bool:
    """Whether `x` yields batches when iterated (or called), as opposed to an array or nested numbers."""
    if isinstance(x, (list, tuple)):
        return len(x) > 0 and all((is_array(item) or isinstance(item, Weighted)) and item.ndim >= 2 for item in x)
    return callable(x) or (hasattr(x, "__iter__") and not hasattr(x, "__array__") and not hasattr(x, "shape"))


def on_disk(x) -> bool:
    """Whether `x` is an array that is read by slicing only, such as an h5py or zarr dataset."""
    return hasattr(x, "chunks") and hasattr(x, "shape") and not is_array(x)


class Batches:
    """Iterable over validated batches of shape (m, d), (b, n, d) or (b, d, h, w); every iteration is a new pass.

    Parameters
    ----------
    x : array or iterable
        An array of one of those shapes, in memory or on disk (memmap, h5py, zarr), an iterable of such arrays or of
        lists of them that can be iterated repeatedly, or a function that returns an iterator over them. All batches
        must have the same d.
    layouts : tuple of int
        Accepted numbers of dimensions.
    name : str
        Name of x in errors.
    finite : bool
        Whether to check that values are finite. Mixtures do not need this, as their kernels check it.

    Raises
    ------
    InputError
        Values that are not finite (the message names the batch and the row or map), a wrong shape or dtype, empty
        batches, or an iterator that can be read only once.
    """

    def __init__(self, x, *, layouts=(2, 3, 4), name: str = "x", finite: bool = True):
        self.x, self.layouts, self.name, self.finite = x, layouts, name, finite
        self.n_features: int | None = None  # set by the first batch
        self._last: Any = None  # iterator of the last pass; an iterable that returns it again cannot be restarted
        self._peeked: Iterator | None = None  # a pass that has read only its first batch
        self._whole: tuple[str, Any] | None = None  # the only batch of a list, joined
        self._check_restartable(x)

    def __iter__(self) -> Iterator:
        return (batch for _, batch in self.named())

    def named(self) -> Iterator[tuple[str, Any]]:
        """(name in errors, batch) for each batch."""
        empty, source, self._peeked = True, self._peeked or self._new_pass(), None
        for item in source:
            empty = False
            name, arrays = self._arrays(*item)
            yield from ((name, array) for array in arrays)
        if empty and self.n_features is not None:
            rule = f"{self.name} must be restartable, got no batches in its second pass"
            raise InputError(f"{rule}: pass a function that returns a new iterator")

    def first(self) -> Any:
        """The first batch, validated, or None. The next pass starts with it and does not read it again."""
        source, consumed = self._peeked or self._new_pass(), []
        for item in source:
            consumed.append(item)
            _, arrays = self._arrays(*item)
            if arrays:
                self._peeked = chain(consumed, source)
                return arrays[0]
        self._peeked = iter(consumed)
        return None

    def width(self) -> int:
        """The number of features, d. If no batch has been read yet, the first one is read."""
        if self.n_features is None:
            check(self.first() is not None, f"{self.name} must contain at least one batch, got none")
        assert self.n_features is not None
        return self.n_features

    def count_in_memory(self) -> int | None:
        """Number of descriptors of an array or list in memory; None for streams and arrays on disk."""
        listed = isinstance(self.x, (list, tuple))
        if on_disk(self.x) or _is_memmap(self.x) or (is_stream(self.x) and not listed):
            return None
        return sum(count(batch) for batch in (self.x if listed else [self.x]))

    def joined(self, rows: int | None = None) -> Iterator[tuple[str, Any]]:
        """Like named(), with small batches of a stream joined until they have `rows` descriptors.

        rows: None for the number of descriptors in BATCH_BYTES.
        """
        if not is_stream(self.x):
            return self.named()
        listed = isinstance(self.x, (list, tuple))
        if rows is not None or not listed:
            return joined(self.named(), rows or self._rows_of_a_batch(), copy=not listed)
        if self._whole is None:
            found = joined(self.named(), self._rows_of_a_batch(), copy=False)
            first, second = next(found, None), next(found, None)
            if first is None or second is not None:
                return chain([pair for pair in (first, second) if pair is not None], found)
            self._whole = first  # a list that fits into one batch is checked and joined only once
        return iter([self._whole])

    def _rows_of_a_batch(self) -> int:
        first = self.first()
        return 1 if first is None else max(1, BATCH_BYTES // (features(first) * itemsize(first)))

    def chunks(self, rows: int) -> Iterator[tuple[str, Any]]:
        """Like named(), with batches of about `rows` descriptors.

        Larger batches are divided along their first axis. Small batches of a stream are joined until they have at least
        half that number.
        """
        for name, batch in self.joined(-(-rows // 2)):
            size = max(1, rows * batch.shape[0] // count(batch))
            for start in range(0, batch.shape[0], size):
                yield name, batch[start : min(start + size, batch.shape[0]), ...]

    def interleaved(self, rows: int) -> Iterator[tuple[str, Any]]:
        """Like chunks(), but each chunk of an array in memory consists of every m-th row or map.

        Rows that are sorted by kind are thus spread over all chunks. Streams and arrays on disk, where such access is
        slow, are read in order.
        """
        if is_stream(self.x) or on_disk(self.x) or _is_memmap(self.x) or self.x.shape[0] == 0:
            yield from self.chunks(rows)
            return
        unit = "rows" if len(self.x.shape) == 2 else "maps"
        step = min(self.x.shape[0], -(-count(self.x) // rows))
        for start in range(step):
            name = f"{unit} {start}::{step} of {self.name}"
            yield name, self._checked(self.x[start::step, ...], name)

    def across_ranks(self) -> Iterator[tuple[str, list]]:
        """(name, list of batches) of each item. An item is divided among ranks, so a rank's list may be empty."""
        source, self._peeked = self._peeked or self._new_pass(), None
        return (self._arrays(*item) for item in source)

    def sample(self, size: int, seed: int) -> np.ndarray:
        """At most `size` descriptors sampled uniformly or, with weights, in proportion to them, NumPy (m, d)."""
        return self.drawn(size, seed)[0]

    def drawn(self, size: int, seed: int) -> tuple[np.ndarray, np.ndarray | None, bool]:
        """(sample (m, d), weights (m,) or None, whether the sample has every descriptor of positive weight).

        The weights are those of x if x is weighted and the sample is complete. They are None if x is not weighted, or
        if the sample was drawn in proportion to them.

        If a stream has a method `sample(size, seed)`, it is called. A 2-D array without weights is sampled in evenly
        spaced runs of RUN_ROWS rows. Otherwise one pass draws a random key for each descriptor and keeps the
        descriptors with the smallest keys.
        """
        if is_stream(self.x) and hasattr(self.x, "sample"):
            return self._checked(to_numpy(self.x.sample(size, seed)), f"sample of {self.name}"), None, False
        if (
            not is_stream(self.x)
            and len(self.x.shape) == 2
            and self.x.shape[0] > 0
            and not isinstance(self.x, Weighted)
        ):
            return self._strided(size), None, self.x.shape[0] <= size
        random = np.random.default_rng(seed)
        kept, keys, weights, weighted, cut = None, np.empty(0), np.empty(0), False, False
        for name, batch in self.joined():
            check_place(batch, name)
            new, w = random.random(count(batch)), np.ones(count(batch))
            if isinstance(batch, Weighted):  # keys −log(u)/w: a descriptor is drawn in proportion to its weight
                w, weighted = batch.weights.ravel(), True
                with np.errstate(divide="ignore"):
                    new = -np.log1p(-new) / w
            # Only descriptors whose keys may be among the smallest are read.
            chosen = np.flatnonzero(new < keys.max()) if len(keys) == size else np.flatnonzero(np.isfinite(new))
            rows = take(batch, chosen)
            kept = rows if kept is None else np.concatenate([kept, rows])
            keys, weights = np.concatenate([keys, new[chosen]]), np.concatenate([weights, w[chosen]])
            cut = cut or len(chosen) < np.isfinite(new).sum() or len(keys) > size
            if len(keys) > size:
                smallest = np.sort(np.argpartition(keys, size)[:size])
                kept, keys, weights = kept[smallest], keys[smallest], weights[smallest]
        if kept is None:
            raise InputError(f"{self.name} must contain at least one batch, got none")
        return kept, weights if weighted and not cut else None, not cut

    def _strided(self, size: int) -> np.ndarray:
        n = self.x.shape[0]
        starts = (
            np.arange(0, n, RUN_ROWS)
            if n <= size
            else np.linspace(0, n - RUN_ROWS, -(-size // RUN_ROWS)).astype(np.int64)
        )
        rows = np.concatenate([to_numpy(self.x[start : min(start + RUN_ROWS, n), ...]) for start in starts])
        if not np.isfinite(rows).all():
            for name, batch in self.named():
                check_place(batch, name)  # reports the row
        return self._checked(rows[:size], f"sample of {self.name}")

    def _new_pass(self) -> Iterator[tuple[str, Any]]:
        """(label, item) of a new pass. The iterator holds no reference to self, so deleting self closes the stream."""
        if is_stream(self.x):
            items = self.x() if callable(self.x) else self.x
            again = iter(items)
            if again is self._last:
                self._check_restartable(again)
            self._last = again
            return ((f"batch {i}", batch) for i, batch in enumerate(again))
        return _pieces(self.x)

    def _check_restartable(self, x) -> None:
        if hasattr(x, "__next__"):
            kind = type(x).__name__
            rule = f"{self.name} must be restartable, got a {kind}"
            raise InputError(f"{rule}: pass a function that returns a new iterator")

    def _arrays(self, label: str, item) -> tuple[str, list]:
        """(name in errors, batches) of an item of the stream, which is a batch or a list of batches."""
        name = f"{label} of {self.name}" if label else self.name
        # A list may hold several batches, but a DataLoader's list holds the fields of one batch.
        fields = isinstance(item, tuple) or (hasattr(self.x, "collate_fn") and isinstance(item, list) and len(item) > 1)
        if fields:
            remedy = "pass a function that yields x alone: lambda: (x for x, *_ in loader)"
            raise InputError(f"{name} must be one array, got {counted(len(item), 'field')}: {remedy}")
        return name, [self._checked(batch, name) for batch in (item if isinstance(item, list) else [item])]

    def _checked(self, batch, name: str):
        if isinstance(batch, Weighted):
            return Weighted(self._checked(batch.maps, name), batch.weights)
        if not is_array(batch):
            raise InputError(f"{name} must be a NumPy, torch or CuPy array, got {type(batch).__name__}")
        if batch.ndim not in self.layouts:
            rule = " or ".join(LAYOUTS[n] for n in self.layouts)
            raise InputError(f"{name} must have shape {rule}, got {tuple(batch.shape)}")
        if count(batch) == 0 or features(batch) == 0:
            raise InputError(
                f"{name} must contain at least one descriptor and one feature, got shape {tuple(batch.shape)}"
            )
        check_not_image(batch, name)
        if self.n_features is None:
            self.n_features = features(batch)
        if features(batch) != self.n_features:
            rule = f"{name} must have {self.n_features} features per descriptor, got {features(batch)}"
            raise InputError(f"{rule}: {IF_IMAGES}" if batch.ndim < 4 else rule)
        check_real(batch, name)
        if self.finite:
            check_place(batch, name)
        return batch if dtype_name(batch) in NATIVE else namespace(batch).astype(batch, namespace(batch).float64)


def _is_memmap(x) -> bool:
    while x is not None:
        if isinstance(x, np.memmap):
            return True
        x = getattr(x, "base", None)
    return False


def _pieces(x) -> Iterator[tuple[str, Any]]:
    """(label, rows or maps) of the array x in pieces of about BATCH_BYTES."""
    shape = tuple(x.shape)
    rows = max(1, BATCH_BYTES // max(1, int(np.prod(shape[1:])) * itemsize(x)))
    unit = "rows" if len(shape) == 2 else "maps"
    if shape[0] == 0:
        yield "", x
    for start in range(0, shape[0], rows):
        stop = min(start + rows, shape[0])
        yield f"{unit} {start}:{stop}", x[start:stop, ...]
