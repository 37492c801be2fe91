"""Scores of validation and test slices, computed once per system and fold, with one function per kind of recipe.

Models are fitted on the fold's training patients only.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from ildfv.errors import check
from ildfv.experiments import fitted
from ildfv.experiments.context import Context
from ildfv.experiments.label_maps import held_out, window_maps
from ildfv.experiments.recipes import Baseline, Cnn, Encoded, Patches, System
from ildfv.inference.sliding_window import pattern_counts
from ildfv.patterns import PATTERNS
from ildfv.pipeline import baseline_features, baselines
from ildfv.pipeline.labels import presence_labels
from ildfv.pipeline.regress import fit_regression
from ildfv.store.atomic import key_of, sweep
from ildfv.store.lock import writing
from ildfv.store.models import TENSORS, has_model, load_model, save_model


class Scores(NamedTuple):
    """Scores of the validation slices (v, 4) and the test slices (t, 4), in the order of the split."""

    validation: np.ndarray
    test: np.ndarray


def scores(context: Context, system: System, fold: int) -> Scores:
    """The system's scores with the fold held out. They are computed once and stored in scores/.

    Weights that are no longer needed are then removed, unless the preset keeps all networks. InputError: the folder
    contains the scores of another system or fold.
    """
    folder, info = context.place("scores", system, fold), {"inputs": system.inputs, "fold": fold}
    if has_model(folder):
        tensors, found_info = load_model(folder)
        same = key_of(found_info) == key_of(info)
        check(
            same,
            f"{folder} must contain scores of {system.folder} without fold {fold}, got other scores: remove it and run "
            "`ildfv experiment` again",
        )
        return Scores(tensors["validation"], tensors["test"])
    found = _computed(system, context, fold)
    with writing(folder):
        sweep(folder)
        save_model(folder, found._asdict(), info)
    context.record_time()
    if not (system.keep_weights or context.preset.keep_networks):
        (context.place("models", system, fold) / TENSORS).unlink(missing_ok=True)
    return found


def is_scored(context: Context, system: System) -> bool:
    """Whether all scores of the system are stored."""
    return all(has_model(context.place("scores", system, fold)) for fold in context.held_out(system))


@singledispatch
def _computed(system, context: Context, fold: int) -> Scores:
    """Computes the scores. Models that do not exist yet are fitted first, on the fold's training patients."""
    raise TypeError(f"no scoring function is registered for {type(system).__name__}")


@_computed.register
def _(system: Cnn, context: Context, fold: int) -> Scores:
    from ildfv.train.networks import load
    from ildfv.train.trainer import predict

    network, split = load(fitted.network(context, system, fold), context.device), context.split_of(system, fold)
    answers = (
        predict(network, context.slices, indices, device=context.device, progress=context.progress)
        for indices in (split.validation, split.test)
    )
    return Scores(*answers)


@_computed.register
def _(system: Encoded, context: Context, fold: int) -> Scores:
    split, encoding = context.split_of(system, fold), fitted.encoding(context, system, fold)
    options: dict[str, Any] = {"target": system.target, "threshold": system.network.threshold, "ridge": system.ridge}
    options["progress"] = context.progress
    found = fit_regression(encoding, context.slices, split, **options)
    chosen = {"target": system.target, "ridge": found.ridge}
    save_model(encoding.folder / "regression", found.model.to_tensors(), {**found.model.info(), **chosen})
    return Scores(found.validation, found.test)


@_computed.register
def _(system: Patches, context: Context, fold: int) -> Scores:
    split = context.split(fold)
    with context.progress.task("Sliding window", total=len(split.validation)) as advance:
        validation = []
        for labels in window_maps(context, system, fold, split.validation):
            validation.append(pattern_counts(labels))
            advance()
    test = np.empty((len(split.test), len(PATTERNS)))
    for rows, maps in held_out(context, system, fold):
        test[rows] = [pattern_counts(labels) for labels in maps]
    return Scores(np.array(validation), test)


@_computed.register
def _(system: Baseline, context: Context, fold: int) -> Scores:
    split = context.split(fold)
    filled = baselines.inputs(system.name, features(context)[system.name], split.fit)
    truth = presence_labels(context.slices, split.fit, system.threshold)
    patients = context.slices.patients[split.fit]
    head = baselines.fit_baseline(system.name, filled[split.fit], truth, patients, system.seed)
    return Scores(*(head.predict(filled[indices]) for indices in (split.validation, split.test)))


def features(context: Context) -> dict[str, np.ndarray]:
    """The features (N, p) of the baselines by name. Densities are omitted if the slices were prepared without them."""
    return context.remember(("features",), lambda: baseline_features.features(context.slices, context.progress))
