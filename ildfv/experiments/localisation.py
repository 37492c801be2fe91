"""Localisation (future work in the paper): whether maps of the contributions to a score show where the pattern is.

The score of Fisher vectors is an exact sum over locations. These contributions are compared with the label maps of
held-out slices, which are not used for fitting. As controls, a map of the lung and a map of its density are evaluated
in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from ildfv.errors import check
from ildfv.evaluation.tables import Cell, Estimate, Table
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.fitted import fisher_model, network
from ildfv.experiments.layers import fisher
from ildfv.experiments.recipes import Encoded
from ildfv.experiments.results import predictions
from ildfv.experiments.tables import OURS
from ildfv.inference.localisation import MIN_PIXELS, Estimated, LabelledSlices, MapScores, evaluate_maps
from ildfv.inference.map_controls import CONTROLS
from ildfv.patterns import PATTERNS

TITLES = {
    "pixel_auc": "Pixel AUC: probability that a pixel of the pattern has a higher value than another pixel",
    "pointing_game": "Pointing game: fraction of slices on which the highest value of the map is on the pattern",
    "dice": "Dice at the threshold that is best on training slices",
}
WITHIN = {"lung": "inside the lung", "slice": "whole slice"}
TRAINING = 48  # maximum number of slices on which thresholds are chosen, drawn from the fit slices with a pattern

NO_CAPTUM = "Grad-CAM maps of the CNN are omitted, because captum is not installed: `pip install 'ildfv[evidence]'`."

Maps = Callable[[LabelledSlices], np.ndarray]


def run(context: Context) -> Findings:
    layers = dict.fromkeys((context.preset.dense_layer, context.preset.layer))
    vectors = [fisher(context, layer) for layer in layers]
    folds: dict[tuple[str, str], list[MapScores]] = {}
    notes = [] if find_spec("captum") else [NO_CAPTUM]
    for fold in context.held_out():
        split = context.split(fold)
        training, tested = slices_for_thresholds(context, split.fit, fold), with_pattern(context, split.test)
        if not (len(training) and len(tested)):
            notes.append(f"Fold {fold} is omitted, because no fit slice or no test slice shows a pattern.")
            continue
        read = partial(LabelledSlices.read, context.slices, lungs=context.preset.lungs)
        parts = read(training), read(tested)
        systems = maps_of(context, vectors, fold)
        for within in WITHIN:
            for name, found in evaluate_maps(systems, *parts, within=within).items():
                folds.setdefault((name, within), []).append(found)
    check(bool(folds), "localisation needs a fold whose fit slices and test slices both show a pattern, got none")
    joined = {key: MapScores.joined(parts) for key, parts in folds.items()}
    note = (
        f"The maps are evaluated on held-out slices with at least {MIN_PIXELS} pixels of the pattern, counted on the "
        "prepared slice. In a map, the contribution of each location is spread over its receptive field and keeps its "
        "sign. Inside the lung, a map of the lung is not better than chance (pixel AUC 0.5)."
    )
    tables = [_table(context, title, measure, joined, note) for measure, title in TITLES.items()]
    return Findings(tables, [context.base, *vectors], notes=notes)


def maps_of(context: Context, vectors: Sequence[Encoded], fold: int) -> dict[str, Maps]:
    """By name, the functions that compute the maps of the systems fitted without the fold, and of the controls."""
    systems: dict[str, Maps] = {}
    for system in vectors:
        predictions(context, system)  # fits the system if necessary
        systems[f"{system.label}, contributions"] = partial(_maps, fisher_model(context, system, fold).maps)
    if find_spec("captum"):
        systems[f"{context.base.label}, Grad-CAM of {context.preset.layer}"] = _grad_cam(context, fold)
    return systems | {f"control: {name}": control for name, control in CONTROLS.items()}


def with_pattern(context: Context, indices: np.ndarray) -> np.ndarray:
    """The slices among `indices` whose label map shows any pattern."""
    return indices[(context.slices.counts[indices] > 0).any(axis=1)]


def slices_for_thresholds(context: Context, indices: np.ndarray, fold: int) -> np.ndarray:
    """At most `TRAINING` of the slices `indices` that show a pattern, drawn with the workspace's seed."""
    found = with_pattern(context, indices)
    drawn = np.random.default_rng([context.workspace.settings.seed, fold]).permutation(found)
    return np.sort(drawn[:TRAINING])


def _grad_cam(context: Context, fold: int) -> Maps:
    """The function that computes Grad-CAM maps of the CNN trained without the fold."""
    from ildfv.inference.cnn_maps import grad_cam
    from ildfv.train.networks import load

    predictions(context, context.base)
    trained = load(network(context, context.base, fold), context.device)
    return partial(_maps, partial(grad_cam, trained, layer=context.preset.layer))


def _maps(maps: Callable[[np.ndarray], np.ndarray], slices: LabelledSlices) -> np.ndarray:
    return maps(slices.images)


def _table(context: Context, title: str, measure: str, joined: dict[tuple[str, str], MapScores], note: str) -> Table:
    options: dict[str, Any] = {"resamples": context.preset.resamples, "seed": context.workspace.settings.seed}
    rows: list[list[Cell]] = []
    for within, where in WITHIN.items():
        for (name, region), scores in joined.items():
            if region == within:
                cells = [_cell(scores.estimate(measure, c, **options)) for c in range(len(PATTERNS))]
                rows.append([f"{name}, {where}", OURS, context.slices.data, *cells])
    return Table(title, ["map, pixels", "source", "data", *PATTERNS], rows, note)


def _cell(found: Estimated) -> Estimate:
    """The table cell of an estimate over pooled folds, without mean and SD over folds."""
    return Estimate(value=found.value, interval=found.interval, mean=None, sd=None, n=0, patients=found.patients)


EXPERIMENT = Experiment("localisation", "Where the patterns are", "Section 4.7, future work", run)
