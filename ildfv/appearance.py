"""Patients numbered by first appearance: an order by name would depend on the salt with which names are hashed."""

from __future__ import annotations

import numpy as np


def by_appearance(names: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct names in the order of their first appearance, like `numpy.unique`, which sorts them.

    Names are hashed with the salt of the workspace. If patients were sorted by name, bootstrap resamples would depend
    on the salt.

    Parameters
    ----------
    names : array of str, shape (N,)
        Patient of each slice.

    Returns
    -------
    distinct : array of str, shape (P,)
    first : array of int, shape (P,)
        Index of the first slice of each patient.
    number : array of int, shape (N,)
        Index of each slice's patient in `distinct`.
    """
    distinct, first, number = np.unique(np.asarray(names, dtype=str), return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return distinct[order], first[order], place[number]
