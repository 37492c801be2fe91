"""Checks of the lung masks that the user gives for the scans to predict, and notes on these masks."""

from __future__ import annotations

from pathlib import Path

from ildfv.counted import counted
from ildfv.errors import check
from ildfv.inference.slice_predictor import SlicePredictor
from ildfv.scans.prepared_lungs import RULE


def check_masks(predictor: SlicePredictor, masks: Path | None) -> None:
    """Raises InputError if lung masks are given to a predictor whose training scans were prepared with lungmask."""
    lungs = predictor.info.preparation.lungs
    check(
        masks is None or lungs == RULE,
        f"lung masks must not be given for a predictor whose training scans were prepared with --lungs {lungs}, got "
        f"lung masks: omit them to find the lung with {lungs}, as on the training scans",
    )


def lung_notes(training: dict, lungs: str, *, given: bool) -> list[str]:
    """At most one note, on how the lung was found; none if the built-in rule found it here and in training.

    training: the field `training` of predictor.json. lungs: method that finds the lung, as in `Preparation`. given:
    whether the user gave lung masks.
    """
    if given:
        before = training.get("given_lung_masks", 0)
        if before:
            return [f"the lung was taken from the given mask, as on {counted(before, 'training slice')}"]
        return ["the lung was taken from the given mask; on the training slices, it was found by the built-in rule"]
    if lungs != RULE:
        return [f"the lung was found by {lungs}, as on the training slices"]
    masks = training.get("given_lung_masks")
    if masks:
        slices = counted(masks, "training slice")
        return [
            f"lung masks were given for {slices}, but not for this scan, whose lung was found by the built-in rule: "
            "give its mask with --lung-masks"
        ]
    return []
