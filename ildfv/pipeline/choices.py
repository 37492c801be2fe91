"""Values of options that several commands have, and checks of these options, without slow imports.

The commands check their options with this module before they import scikit-learn or torch, which takes seconds.
"""

from __future__ import annotations

from ildfv.errors import check

SLICE, BODY, LUNG = "slice", "body", "lung"
REGIONS = (SLICE, BODY, LUNG)  # where descriptors are pooled
PASSES = {"stepwise": 3, "exact": 10}  # by EM method, the default maximum number of passes
FROZEN = ", frozen"  # suffix of the name of a frozen network in the inputs of an encoding
LINEAR, RIDGE, LOGISTIC = "linear", "ridge", "logistic"
HEADS = (LINEAR, RIDGE, LOGISTIC)
COUNTS, STEP, FRACTION = "counts", "step", "fraction"
TARGETS = (COUNTS, STEP, "ramp", FRACTION)  # of the heads linear and ridge
PRESENCE = "presence"  # target of the logistic head
DEFAULT_TARGET = {LINEAR: COUNTS, RIDGE: STEP, LOGISTIC: PRESENCE}  # by head
AUTO, OFF = (
    "auto",
    "off",
)  # lung densities as inputs: if they improve scores cross-validated on the training patients; never
FEW, PAPER = "few", "paper"
RECIPES = (AUTO, FEW, PAPER)


def check_region_name(region: str) -> None:
    """Raises InputError if the region is unknown."""
    check(region in REGIONS, f'region must be {", ".join(REGIONS[:-1])} or {LUNG}, got "{region}"')


def check_method(method: str) -> None:
    """Raises InputError if the EM method is unknown."""
    check(method in PASSES, f'method must be {" or ".join(PASSES)}, got "{method}"')


def check_recipe(recipe: str, epochs: int | None = None, patience: int | None = None) -> None:
    """Raises InputError if the recipe is unknown, or is "few" although options of training are given."""
    check(recipe in RECIPES, f'recipe must be one of {", ".join(RECIPES)}, got "{recipe}"')
    for name, value in (("epochs", epochs), ("patience", patience)):
        check(
            recipe != FEW or value is None,
            f'{name} must be omitted with recipe "{FEW}", which trains no network, got {value}',
        )


def check_target(target: str | None) -> None:
    """Raises InputError if the target of a regression is unknown. None is the default target of the head."""
    check(target is None or target in TARGETS, f'target must be one of {", ".join(TARGETS)}, got "{target}"')


def check_head(head: str, target: str | None, ridge: str | float, density: str = AUTO) -> None:
    """Raises InputError if the head or `density` is unknown, or if an option does not apply to the head."""
    check(head in HEADS, f'head must be one of {", ".join(HEADS)}, got "{head}"')
    check(
        head == LINEAR or ridge == "auto",
        f'ridge must be auto with head "{head}", which chooses its penalties by cross-validation, got {ridge}',
    )
    check(
        head != LOGISTIC or target is None,
        f'target must be omitted with head "logistic", which is always fitted to presence, got "{target}"',
    )
    check(density in (AUTO, OFF), f'density must be {AUTO} or {OFF}, got "{density}"')
