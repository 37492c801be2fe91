"""The inputs of ridge and logistic heads over all folds: HU or windowed slices, and the inputs that the fit chose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ildfv.counted import counted
from ildfv.evaluation.documents import Results
from ildfv.patterns import PATTERNS

HU, WINDOWS = "HU", "8-bit windows"


def used_inputs(results: Iterable[Results]) -> dict[str, dict]:
    """The inputs of each system with a ridge or logistic head.

    Returns
    -------
    dict
        By system, {"layers": {layer: "HU" or "8-bit windows"}, "used": {pattern: {inputs: number of folds}}}. A pattern
        is left out if its score is constant because its labels are unknown or equal in all folds.
    """
    found: dict[str, dict] = {}
    for one in results:
        regress = one.settings.get("regress", {})
        if "used" not in regress:
            continue
        system = found.setdefault(one.system, {"layers": _layers(one.settings["encode"]), "used": {}})
        for pattern, penalty in zip(PATTERNS, regress["penalties"], strict=True):
            if penalty is not None:
                folds = system["used"].setdefault(pattern, Counter())
                folds[regress["used"][pattern]] += 1
    return {
        name: one | {"used": {pattern: dict(folds.most_common()) for pattern, folds in one["used"].items()}}
        for name, one in found.items()
    }


def described(system: dict) -> str:
    """One line, such as "filters, patches from HU; emphysema: projections (3 folds), densities (1 fold)"."""
    by_source: dict[str, list[str]] = {}
    for layer, source in system["layers"].items():
        by_source.setdefault(source, []).append(layer)
    parts = ["; ".join(f"{', '.join(layers)} from {source}" for source, layers in by_source.items())]
    for pattern, folds in system["used"].items():
        counts = [f"{name} ({counted(n, 'fold')})" for name, n in folds.items()]
        parts.append(f"{pattern}: {', '.join(counts)}")
    return "; ".join(parts)


def _layers(encode: dict) -> dict[str, str]:
    """The kind of image from which each layer was computed. encode: inputs of one encoding, or of several by layer."""
    several = {encode["layer"]: encode} if "layer" in encode else encode
    return {layer: HU if inputs.get("hounsfield") else WINDOWS for layer, inputs in several.items()}
