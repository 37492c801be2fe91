"""Joining of small batches, because the fixed cost of a kernel call exceeds the cost of computing a small batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import array_api_compat
import numpy as np

from ildfv.arrays import namespace
from ildfv.errors import InputError
from ildfv.estimators.layouts import check_place, count, features, itemsize, rows_of
from ildfv.weighted import Weighted, split

SMALL_BYTES = 1 << 20  # size of a batch in bytes; joining larger batches would save no time


def joined(named: Iterable[tuple[str, Any]], rows: int, *, copy: bool) -> Iterator[tuple[str, Any]]:
    """(name, batch) pairs like `named`, with consecutive small batches joined into batches of at least `rows` rows.

    Batches of layout (m, d) are joined if they have the same library, device, dtype and kind (weighted or not). All
    others are returned unchanged, and so are batches above SMALL_BYTES or with at least `rows` descriptors. The maps
    (b, d, h, w) of a network must not be joined, because the kernel's sums over a batch are rounded to float32: the
    result would then depend on how batches are divided among ranks.

    copy: whether small batches are copied when they are read, which is necessary if the stream may reuse their memory.

    Raises
    ------
    InputError
        A joined batch has values that are not finite; the message contains the original name of the batch.
    """
    waiting: list[tuple[str, Any]] = []
    held = 0  # descriptors in `waiting`
    for name, batch in named:
        n = count(batch)
        listed = len(split(batch)[0].shape) == 2
        alone = not listed or n >= rows or n * features(batch) * itemsize(batch) > SMALL_BYTES
        if waiting and (alone or _kind(batch) != _kind(waiting[0][1])):
            yield _join(waiting)
            waiting, held = [], 0
        if alone:
            yield name, batch
            continue
        waiting.append((name, _copied(batch) if copy else batch))
        held += n
        if held >= rows:
            yield _join(waiting)
            waiting, held = [], 0
    if waiting:
        yield _join(waiting)


def _join(named: list[tuple[str, Any]]) -> tuple[str, Any]:
    if len(named) == 1:
        return named[0]
    maps, weights = zip(*(split(batch) for _, batch in named), strict=True)
    rows = namespace(maps[0]).concat([rows_of(one) for one in maps], axis=0)
    whole = rows if weights[0] is None else Weighted(rows, np.concatenate([one.ravel() for one in weights]))
    name = f"{named[0][0]} to {named[-1][0]}"
    try:
        check_place(whole, name)
    except InputError:
        for own_name, batch in named:
            check_place(batch, own_name)
        raise
    return name, whole


def _copied(batch):
    maps, weights = split(batch)
    maps = namespace(maps).asarray(maps, copy=True)
    return maps if weights is None else Weighted(maps, weights.copy())


def _kind(batch) -> tuple:
    maps, weights = split(batch)
    return type(maps), array_api_compat.device(maps), maps.dtype, weights is None
