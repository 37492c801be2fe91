"""Statements that compare a scan with the slices that a predictor was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ildfv.counted import counted
from ildfv.inference.batch import SliceBatch
from ildfv.inference.sentences import enumerated, sentence
from ildfv.inference.slice_predictor import SlicePredictor
from ildfv.scans.normalise import air_of
from ildfv.scans.volume import Volume
from ildfv.scans.windows import GRID

if TYPE_CHECKING:
    from ildfv.inference.schema import Reference

MARGIN = 1.05  # factor by which a pixel side, field of view or slice spacing may be outside the training range
THICKNESS_MARGIN = 1.25  # the same factor for the thickness of slices: 1 and 1.25 mm are similar
LUNG_MARGIN = 1.25  # the same factor for the area of lung, which differs more between patients
SLICES_MARGIN = 2  # factor by which the number of slices may be outside the training range
AIR_MARGIN = 15.0  # HU by which the air may be outside the training range: 3 % of the narrowest window
LOW = 1  # likelihoods below this percentile of the training slices, or above 100 − LOW, are reported
WIDER = 0.25  # fraction of its width by which the range of the medians of scans is extended on both sides
MAX_SLICES = 64  # maximum number of slices whose texture is computed; they are evenly spaced
MAX_KERNELS = 5  # maximum number of kernels of the training scans in a sentence
SCAN, TRAINING = "this scan", "the training scans"


@dataclass(frozen=True)
class Comparison:
    """The comparison of one property of a scan with the training scans.

    name: the property. difference: a sentence if the property differs, else "". unknown: SCAN or TRAINING if the
    property is unknown there and was therefore not compared; else "".
    """

    name: str
    difference: str = ""
    unknown: str = ""


def statements(
    predictor: SlicePredictor, volume: Volume, slices: SliceBatch, lung: np.ndarray, *, has_size: bool = True
) -> list[str]:
    """Sentences for the user: a summary, one sentence for each difference, and the properties that were not compared.

    If properties were compared and none differs, the result is one text.

    slices: the prepared slices of the scan. lung: area of lung on each slice, cm². has_size: whether the pixel size is
    known; if not, sizes are not compared.
    """
    has_probability = any(one is not None for head in predictor.info.heads for one in head.scan_sigmoids)
    of_scan = _of_scan(predictor.info.reference, volume, lung, has_probability) if has_size else ()
    compared = [*of_scan, *_of_texture(predictor, slices)]
    found = [one.difference for one in compared if one.difference]
    alike = list(dict.fromkeys(one.name for one in compared if not one.unknown))
    if found:
        summary = f"The scan differs from the training data in {counted(len(found), 'respect')}."
        return [summary, *found, *_not_compared(compared)]
    if not alike:
        return ["The scan could not be compared with the training data.", *_not_compared(compared)]
    verb = "is" if len(alike) == 1 else "are"
    summary = sentence(f"{enumerated(alike)} {verb} within the range of the training slices")
    return [" ".join([summary, *_not_compared(compared)])]


def _of_scan(reference: Reference, volume: Volume, lung: np.ndarray, has_probability: bool) -> Iterator[Comparison]:
    """The comparisons of geometry and technique. has_probability: whether scans have a probability of any pattern."""
    technique, several = volume.technique, len(volume.hu) > 1
    yield _within(
        "pixel size",
        float(np.sqrt(volume.pixel_area)),
        reference.pixel_side,
        "Pixels are {} mm wide; the training scans have pixels of {} mm.",
    )
    yield _within(
        "field of view",
        GRID * float(np.sqrt(volume.paper_pixel_area)),
        reference.field,
        "The field of view is {} mm; that of the training scans is {} mm. Slices are scaled to one size, so scores and "
        "areas are not reliable.",
        digits=0,
    )
    yield _within(
        "slice spacing",
        float(volume.spacing[0]) if several else None,
        reference.spacing,
        "Slices are {} mm apart; the training slices are {} mm apart.",
    )
    yield _within(
        "slice thickness",
        technique.thickness,
        reference.thickness,
        "Slices are {} mm thick; the training slices are {} mm thick.",
        margin=THICKNESS_MARGIN,
    )
    if reference.scan_slices is not None:
        yield from _number_of_slices(len(volume.hu), reference.scan_slices, has_probability)
    yield _kernel(technique.kernel, reference.kernels)
    yield _air(air_of(volume.hu, volume.pixel_area), reference.air)
    yield _within(
        "lung area",
        float(lung.max()),
        reference.lung_area,
        "The slice with the most lung shows {} cm² of lung; on the training scans, the corresponding slices show {} "
        "cm².",
        margin=LUNG_MARGIN,
        digits=0,
    )


def _of_texture(predictor: SlicePredictor, slices: SliceBatch) -> Iterator[Comparison]:
    """The comparisons of the texture under each encoding."""
    reference = predictor.info.reference
    chosen = slices[np.unique(np.linspace(0, len(slices) - 1, MAX_SLICES).astype(int))]
    for encoding, quantiles in reference.log_likelihood.items():
        texture = predictor.texture(chosen, encoding)
        likelihoods, residuals = (values[np.isfinite(values)] for values in texture)
        scans = reference.scan_log_likelihood.get(encoding)
        yield _likelihood(likelihoods, quantiles, scans, encoding)
        yield _residual(residuals, reference.residual.get(encoding), reference.scan_residual.get(encoding), encoding)


def _within(
    name: str,
    value: float | None,
    limits: tuple[float, float] | None,
    text: str,
    *,
    margin: float = MARGIN,
    digits: int = 2,
) -> Comparison:
    """The comparison of a value with the range of the training scans. text: with places for the value and the range."""
    if value is None or limits is None:
        return Comparison(name, unknown=SCAN if value is None else TRAINING)
    low, high = limits
    if low / margin <= value <= high * margin:
        return Comparison(name)
    return Comparison(name, text.format(f"{value:.{digits}f}", _range(low, high, digits)))


def _number_of_slices(value: int, limits: tuple[int, int], has_probability: bool) -> Iterator[Comparison]:
    """The comparison of the number of slices, only if it is more than SLICES_MARGIN times too large or too small.

    The highest score of many slices is higher than that of few, whatever they show.
    """
    low, high = limits
    if value > SLICES_MARGIN * high or value * SLICES_MARGIN < low:
        error = "high" if value > high else "low"
        sizes = f"The scan has {counted(value, 'slice')}; the training scans have {_range(low, high, 0)}."
        rule = "The probability of a scan is calibrated for scans of that size"
        effect = f" {rule}, so it is too {error} for this scan."
        yield Comparison("number of slices", sizes + effect * has_probability)


def _kernel(kernel: str, known: Mapping[str, int]) -> Comparison:
    name = "convolution kernel"
    if not kernel or not known:
        return Comparison(name, unknown=TRAINING if kernel else SCAN)
    if kernel in known:
        return Comparison(name)
    (first, scans), *others = list(known.items())[:MAX_KERNELS]
    texts = [f"{first} ({counted(scans, 'scan')})", *(f"{other} ({n})" for other, n in others)]
    if len(known) > MAX_KERNELS:
        texts.append(f"{len(known) - MAX_KERNELS} others")
    return Comparison(name, f"The convolution kernel is {kernel}; the training scans have {enumerated(texts)}.")


def _air(air: float | None, limits: tuple[float, float] | None) -> Comparison:
    name = "HU of air"
    if air is None or limits is None:
        return Comparison(name, unknown=SCAN if air is None else TRAINING)
    low, high = limits
    if low - AIR_MARGIN <= air <= high + AIR_MARGIN:
        return Comparison(name)
    return Comparison(
        name,
        f"The air around the body has {_number(air, 0)} HU; on the training scans, it has {_range(low, high, 0)} HU.",
    )


def _likelihood(
    values: np.ndarray, quantiles: list[float], scans: tuple[float, float] | None, encoding: str
) -> Comparison:
    """The comparison of the median likelihood of the scan's slices with the training data.

    quantiles: 101 quantiles of the likelihood of training slices. scans: range of the medians of training scans; None
    in predictors of earlier versions. Medians vary less than single slices, so the comparison with scans is stricter.
    """
    name = "texture likelihood"
    if not len(values):
        return Comparison(name, unknown=SCAN)
    median = float(np.median(values))
    for word, beyond in (("less", median < quantiles[LOW]), ("more", median > quantiles[-1 - LOW])):
        if beyond:
            return Comparison(
                name,
                f"At least half of the slices have a texture that is {word} likely than the texture of {100 - LOW} % "
                f"of the training slices (mixture of {encoding}): results are not reliable.",
            )
    if scans is None:
        return Comparison(name)
    low, high = scans
    margin = WIDER * (high - low)
    for word, beyond in (("less", median < low - margin), ("more", median > high + margin)):
        if beyond:
            return Comparison(
                name,
                f"The texture of the slices is {word} likely than the texture of the training scans (mixture of "
                f"{encoding}: median log likelihood {median:.3g}, training scans {low:.3g} to {high:.3g}). The kernel, "
                "the noise or the body region may differ.",
            )
    return Comparison(name)


def _residual(
    values: np.ndarray, quantiles: list[float] | None, scans: tuple[float, float] | None, encoding: str
) -> Comparison:
    """The comparison of the median PCA residual of the scan's slices with that of validation patients.

    quantiles: 101 quantiles over validation slices. scans: range of the medians of validation scans, or None. Only a
    larger residual is reported, because a smaller one does not make results less reliable.
    """
    name = "PCA residual"
    if not len(values) or quantiles is None:
        return Comparison(name, unknown=TRAINING if len(values) else SCAN)
    median, most = float(np.median(values)), quantiles[-1 - LOW]
    if median > most:
        return Comparison(
            name,
            f"The PCA of {encoding} represents the texture of at least half of the slices less well than that of "
            f"{100 - LOW} % of the slices of validation patients (median relative residual {median:.3f}, limit "
            f"{most:.3f}): results are not reliable.",
        )
    if scans is None or median <= scans[1] + WIDER * (scans[1] - scans[0]):
        return Comparison(name)
    return Comparison(
        name,
        f"The PCA of {encoding} represents the texture of the slices less well than that of the validation scans "
        f"(median relative residual {median:.3f}, validation scans {scans[0]:.3f} to {scans[1]:.3f}).",
    )


def _not_compared(compared: Sequence[Comparison]) -> Iterator[str]:
    """A sentence on the properties that are unknown for the scan, and one on those unknown for the training scans."""
    for side in (SCAN, TRAINING):
        names = list(dict.fromkeys(one.name for one in compared if one.unknown == side))
        if names:
            because = "was not compared, because it is" if len(names) == 1 else "were not compared, because they are"
            yield sentence(f"{enumerated(names)} {because} unknown for {side}")


def _range(low: float, high: float, digits: int) -> str:
    """Text such as "1.00 to 1.50", or "1.25" if both are equal."""
    ends = [_number(low, digits), _number(high, digits)]
    return " to ".join(dict.fromkeys(ends))


def _number(value: float, digits: int) -> str:
    """The number with a minus sign instead of a hyphen."""
    return f"{value:.{digits}f}".replace("-", "−")
