"""`ildfv fit`: fits the systems of one of two recipes without each fold, and evaluates them on all folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ildfv.counted import counted
from ildfv.datasets.slice_store import Slices
from ildfv.evaluation.baselines import shared_labels, verdicts
from ildfv.evaluation.documents import SCAN, Results
from ildfv.patterns import PATTERNS
from ildfv.pipeline.baselines import score_baselines
from ildfv.pipeline.by_scan import pooling_of, refuse_scan_labels
from ildfv.pipeline.choices import AUTO, FEW, LUNG, PAPER, check_recipe
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.frozen import frozen_name
from ildfv.pipeline.heads import JOINED
from ildfv.pipeline.kept import Kept
from ildfv.pipeline.pooled import Pool, pool, pooled_comparisons, pooled_results
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.scored import current_results, predictions_of
from ildfv.pipeline.split import load_folds, write_folds
from ildfv.pipeline.train import ENOUGH, train_network
from ildfv.pipeline.units import fold_notes, has_pixel_counts
from ildfv.pipeline.used_inputs import used_inputs
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress

FEW_LAYERS = ("filters", "patches")  # concatenated, they have the highest mean AUC on hard phantoms (bench/NOTES.md)
FEW_HEADS = ("ridge", "logistic")
SCAN_HEADS = ("logistic",)  # instead of FEW_HEADS, with labels of scans
FEW_SETTINGS: dict[str, Any] = {}  # fields of `EncodeSettings` that differ from the defaults
FEW_NETWORK, FEW_NETWORK_LAYER = "efficientnet-lite0", "block5"  # 28×28 locations; used if installed
PAPER_LAYER = "conv1"


def fit(
    root: Path,
    *,
    recipe: str = AUTO,
    device: str = "auto",
    epochs: int | None = None,
    patience: int | None = None,
    bags: str | None = None,
    fresh: bool = False,
    progress: Progress = SILENT,
) -> dict:
    """Fits and scores the systems of a recipe on all folds, and returns the pooled results of the workspace.

    Folds are created if there are none. Both recipes also score the baselines. Finished encodings, networks and results
    are kept if their settings and inputs are unchanged.

    Parameters
    ----------
    root : path
        The workspace.
    recipe : {"auto", "few", "paper"}
        few: no network is trained. Ridge and logistic regression (with labels of scans, only logistic regression) are
        fitted on the concatenated Fisher vectors of the layers filters and patches inside the lung. Lung densities are
        additional inputs if they improve the scores in a cross-validation within the training patients. If the network
        efficientnet-lite0 and its ImageNet weights are installed (extra [pretrained]), each regression is also fitted
        with the Fisher vectors of a layer of this frozen network as additional inputs. paper: a trained CNN, and linear
        regression on the conv1 Fisher vectors of the whole slice. auto: few for fewer than 2,000 labelled slices or for
        labels of scans, otherwise paper.
    device : str
        auto, cpu, cuda or cuda:i.
    epochs : int, optional
        Number of training epochs of the CNN, with recipe "paper"; None for the default of `train_network`.
    patience : int, optional
        Number of epochs without improvement after which training of the CNN stops, with recipe "paper". None: all
        epochs are trained.
    bags : {"noisy-or", "max"}, optional
        With labels of scans: how slice scores are pooled into the score of a scan, by default noisy-or.
    fresh : bool
        Whether to replace encodings, and a CNN, that were made with other settings than those of the recipe.

    Returns
    -------
    dict
        The measures of all systems and baselines of the workspace whose results are current and can be pooled
        (`pooled.pool`), including those that other commands scored. Undefined measures are None. With labels of scans,
        all measures are per scan.

        - recipe: "few" or "paper".
        - data: "phantom" or "user", the kind of data.
        - threshold: T, the minimum extent of a pattern that counts as present.
        - pixel_counts: whether any label is a number of pixels, to which T is applied.
        - folds: the pooled folds.
        - slices, patients: numbers of slices and patients in these folds. With labels of scans, also scans, the number
          of scans, and unit, which is "scan".
        - systems: by name, {"auc": {pattern: value}, "auc_interval": {pattern: [low, high]}, "mean_auc",
          "mean_auc_interval", "supported_mean_auc", "supported_mean_auc_interval"}. Systems are in decreasing order of
          the mean AUC, followed by the baselines in the same order.
        - supported: the patterns whose AUC depends on at least five patients. "supported_mean_auc" is the mean over
          these patterns.
        - against_baseline: for each system and measure (the AUC of a pattern, or the mean AUC), its comparison with the
          best baseline: the fields of a `Verdict`, and its properties "beats" and "outcome".
        - comparisons: `Comparison` documents, the paired tests between systems.
        - inputs: the inputs of each ridge or logistic head (`used_inputs`).
        - notes: sentences on the systems that do not beat the best baseline in every measure.

    Raises
    ------
    InputError
        An option is invalid or does not apply to the labels, the device is missing, or slices, labels or folds are
        missing or not valid.
    """
    check_recipe(recipe, epochs, patience)
    workspace = Workspace.open(root)
    device = resolve(device)  # raises before the baselines are scored
    slices = workspace.slices()
    pooling_of(slices, bags)
    if recipe == PAPER:
        refuse_scan_labels(slices, "recipe paper", "use --recipe few")
    folds = load_folds(workspace) if workspace.folds_file.exists() else write_folds(workspace)
    for note in fold_notes(slices, folds):
        progress.note(note)
    n_labelled, of_scans = int(slices.labelled.sum()), slices.scan_labels is not None
    chosen = recipe if recipe != AUTO else FEW if n_labelled < ENOUGH or of_scans else PAPER
    what = f"{counted(n_labelled, 'slice')} of labelled scans" if of_scans else counted(n_labelled, "labelled slice")
    progress.note(f"recipe {chosen}: {what}")
    unused = [f"--{name}" for name, value in (("epochs", epochs), ("patience", patience)) if value is not None]
    if chosen == FEW and unused:
        options, verb = " and ".join(unused), "has" if len(unused) == 1 else "have"
        progress.note(f"recipe few trains no network, so {options} {verb} no effect: use --recipe paper to train one")
    kept, how = Kept(progress), {"device": device, "fresh": fresh, "progress": progress}
    score_baselines(root, kept=kept, progress=progress)
    for fold in range(folds.n_folds):
        if chosen == FEW:
            _few(root, fold, SCAN_HEADS if of_scans else FEW_HEADS, bags, kept, how)
        else:
            _paper(root, fold, {"epochs": epochs, "patience": patience}, kept, how)
    if kept.kept:
        known, number = len(kept.kept), len(kept.kept) + len(kept.computed)
        which = "all" if known == number else f"{known} of"
        progress.note(f"{which} {counted(number, 'result')} were kept: their settings and inputs are unchanged")
    return {"recipe": chosen, **summary(workspace, slices)}


def summary(workspace: Workspace, slices: Slices) -> dict:
    """The fields of the result of `fit` except recipe: the pooled results of all current systems and baselines."""
    current, _ = current_results(workspace, slices)
    systems: Pool = pool([predictions_of(workspace, slices, name, results) for name, results in current.items()])
    results = pooled_results(workspace, slices, systems)
    comparisons = pooled_comparisons(systems, workspace.settings.seed)
    found = verdicts(results, comparisons)
    return {
        "data": slices.data,
        "threshold": workspace.settings.threshold,
        "pixel_counts": has_pixel_counts(slices),
        **_numbers(slices, systems, results),
        "patients": results[0].n_patients if results else 0,
        "folds": results[0].folds if results else [],
        "systems": {one.system: _system(one) for one in results},
        "supported": results[0].overall.supported if results else [],
        "against_baseline": [asdict(one) | {"beats": one.beats, "outcome": one.outcome} for one in found],
        "comparisons": comparisons,
        "inputs": used_inputs(one for one in current.values() if one.system in systems),
        "notes": shared_labels({None: found}),
    }


def _numbers(slices: Slices, systems: Pool, results: list[Results]) -> dict:
    """The fields slices and, with labels of scans, unit and scans."""
    if slices.scan_labels is None:
        return {"slices": results[0].n_slices if results else 0}
    tested = np.concatenate([rows for rows, _ in next(iter(systems.values()))]) if systems else np.empty(0, int)
    return {"unit": SCAN, "scans": len(tested), "slices": int(slices.sizes[tested].sum())}


def _few(root: Path, fold: int, heads: Sequence[str], bags: str | None, kept: Kept, how: dict[str, Any]) -> None:
    for layer in FEW_LAYERS:
        settings = EncodeSettings(layer=layer, region=LUNG, **FEW_SETTINGS)
        encode_slices(root, settings, fold=fold, **how)
    systems: list[tuple[str, ...]] = [FEW_LAYERS]
    if network_available():
        settings = EncodeSettings(layer=FEW_NETWORK_LAYER, region=LUNG, **FEW_SETTINGS)
        encode_slices(root, settings, fold=fold, network=FEW_NETWORK, **how)
        systems.append((*FEW_LAYERS, frozen_name(FEW_NETWORK, FEW_NETWORK_LAYER)))
    for layers in systems:
        for head in heads:
            regress_encoding(
                root,
                layer=JOINED.join(layers),
                region=LUNG,
                fold=fold,
                head=head,
                bags=bags,
                kept=kept,
                progress=how["progress"],
            )


def network_available() -> bool:
    """Whether the frozen network of the recipe "few" and its weights are installed."""
    from ildfv.train.pretrained import is_available

    return is_available(FEW_NETWORK)


def _paper(root: Path, fold: int, options: dict[str, int | None], kept: Kept, how: dict[str, Any]) -> None:
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    train_network(root, fold=fold, kept=kept, **how, **given)
    encode_slices(root, EncodeSettings(layer=PAPER_LAYER), fold=fold, **how)
    regress_encoding(root, layer=PAPER_LAYER, fold=fold, kept=kept, progress=how["progress"])


def _system(one: Results) -> dict:
    rows = one.per_pattern
    return {
        "auc": {pattern: rows[pattern].auc for pattern in PATTERNS},
        "auc_interval": {pattern: rows[pattern].auc_interval for pattern in PATTERNS},
        "mean_auc": one.overall.mean_auc,
        "mean_auc_interval": one.overall.mean_auc_interval,
        "supported_mean_auc": one.overall.supported_mean_auc,
        "supported_mean_auc_interval": one.overall.supported_mean_auc_interval,
    }
