"""Transfer to another data set (future work in the paper): systems of one workspace are tested on another workspace."""

from __future__ import annotations

from typing import Any

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.evaluation.documents import Results
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.results import evaluate
from ildfv.evaluation.tables import Cell, Estimate, Table
from ildfv.experiments import fitted
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.layers import fisher
from ildfv.experiments.recipes import Cnn, Encoded
from ildfv.experiments.results import predictions
from ildfv.experiments.tables import AUC, OURS
from ildfv.patterns import PATTERNS
from ildfv.pipeline.split import labelled_presence
from ildfv.pipeline.workspace import Workspace
from ildfv.report.cells import counted
from ildfv.scans.preparation import check_same
from ildfv.train.data import READ

MEASURES = {"overall F": "f", **AUC}


def run(context: Context) -> Findings:
    if context.other is None:
        none = "No second workspace was given. Run `ildfv experiment transfer --other WORKSPACE`."
        return Findings([], notes=[none], folds=())
    other = Workspace.open(context.other).slices()
    shared = set(context.slices.scans("patient")) & set(other.scans("patient"))
    check(
        not shared,
        f"--other must be a workspace with other patients, got {counted(len(shared), 'patient')} of this workspace",
    )
    check_same(context.slices.preparation, other.preparation, "--other must be a workspace prepared")
    fold = context.held_out()[0]
    rows: list[list[Cell]] = []
    layers = dict.fromkeys((context.preset.dense_layer, context.preset.layer))
    systems: list[Cnn | Encoded] = [context.base, *(fisher(context, layer) for layer in layers)]
    for system in systems:
        home = predictions(context, system)[0]
        away = transferred(context, system, fold, other)
        for where, found, data in (("held-out fold", home, context.slices.data), ("other workspace", away, other.data)):
            results = evaluate(found, data=data, threshold=system.threshold, n_resamples=context.preset.resamples)
            rows.append([f"{system.label}, {where}", OURS, data, *(_cell(results, key) for key in MEASURES.values())])
    n = len(np.unique(other.patients[other.labelled]))
    labelled = counted(int(other.labelled.sum()), "labelled slice")
    note = (
        f"Networks, encodings, thresholds and calibration are fitted on the patients outside fold {fold} of this "
        f"workspace. The other workspace has {labelled} of {counted(n, 'patient')}, none of whom "
        "is in this workspace. If the workspaces have different salts, patients who are in both cannot be recognised."
    )
    table = Table(
        "Trained on this workspace, tested on both", ["system, tested on", "source", "data", *MEASURES], rows, note
    )
    return Findings([table], systems)


def transferred(context: Context, system: Cnn | Encoded, fold: int, other: Slices) -> Predictions:
    """Predictions of the system fitted without the fold, for the labelled slices of another workspace."""
    from ildfv.train.networks import load
    from ildfv.train.trainer import predict

    here = predictions(context, system)[fold]  # fits the system if necessary
    indices = np.flatnonzero(other.labelled)
    if isinstance(system, Cnn):
        network = load(fitted.network(context, system, fold), context.device)
        scores = predict(network, other, indices, device=context.device, progress=context.progress)
    else:
        answer = fitted.regression(context, system, fold)
        parts = [indices[i : i + READ] for i in range(0, len(indices), READ)]
        scores = np.concatenate([answer(other.images(part)) for part in parts])
    given: dict[str, Any] = {"system": system.label, "fold": fold, "decisions": here.decisions, "labels": PATTERNS}
    given["unlearned"] = here.unlearned
    presence = labelled_presence(other, indices, system.threshold)
    return Predictions(scores=scores, presence=presence, patients=other.patients[indices].tolist(), **given)


def _cell(results: Results, key: str) -> Estimate:
    """The table cell of a measure of one fold, with its interval."""
    pattern, _, name = key.rpartition("/")
    found = results.per_pattern[pattern] if pattern else results.overall
    value, interval = found.estimate(name)
    n = int(value is not None)
    return Estimate(value=value, interval=interval, mean=value, sd=None, n=n, patients=found.patients.get(name))


EXPERIMENT = Experiment("transfer", "Transfer to another data set", "Section 5, future work", run)
