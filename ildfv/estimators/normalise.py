"""Normalisation of encodings: signed power, and unit norm of each component or of the whole vector."""

from __future__ import annotations

from typing import Any

from ildfv.arrays import namespace
from ildfv.errors import check_number
from ildfv.kernels.reference import MIN_NORM


def check_power(power: float) -> float:
    """The exponent as a float; InputError unless it is in (0, 1]."""
    return check_number(power, "power", "in (0, 1]", lambda p: 0 < p <= 1)


def rooted(x, power: float):
    """sign(x)·|x|^power: 0.5 is the signed square root, 1 changes nothing (Perronnin, Sánchez & Mensink 2010)."""
    xp = namespace(x)
    if power == 1:
        return x
    return xp.sign(x) * (xp.sqrt(xp.abs(x)) if power == 0.5 else xp.abs(x) ** power)


def unit(x: Any) -> Any:
    """Rows (b, m) scaled to unit L2 norm; zero vectors remain zero."""
    xp = namespace(x)
    norms = xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))
    return x / xp.maximum(norms, xp.full_like(norms, MIN_NORM))


def blocks_to_unit(parts: list) -> list:
    """Parts (b, k, ·) scaled so that the values of each of the k components have unit norm over all parts.

    All components then have equal weight, however many descriptors they have (Arandjelović & Zisserman, "All about
    VLAD", CVPR 2013).
    """
    xp = namespace(*parts)
    norms = xp.sqrt(sum(xp.sum(part * part, axis=2, keepdims=True) for part in parts))  # (b, k, 1)
    norms = xp.maximum(norms, xp.full_like(norms, MIN_NORM))
    return [part / norms for part in parts]
