"""`ildfv fit`: fits and evaluates systems on all folds of labelled slices, with one of two recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ildfv.counted import counted
from ildfv.datasets.slice_store import Slices
from ildfv.evaluation.baselines import labels, verdicts
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
SCAN_HEADS = ("logistic",)  # with labels of scans
FEW_SETTINGS: dict[str, Any] = {}  # fields of `EncodeSettings` that differ from the defaults
FEW_NETWORK, FEW_NETWORK_LAYER = "efficientnet-lite0", "block5"  # has 28×28 locations; used if it is installed
PAPER_LAYER = "conv1"


def fit(
    root: Path,
    *,
    recipe: str = AUTO,
    device: str = "auto",
    epochs: int | None = None,
    patience: int | None = None,
    bags: str | None = None,
    progress: Progress = SILENT,
) -> dict:
    """Fits and scores the systems of a recipe on all folds and returns their pooled results.

    Folds are created if there are none. The baselines are scored with both recipes. Finished encodings, networks and
    results are kept if their settings and inputs are unchanged.

    Parameters
    ----------
    root : path
        The workspace.
    recipe : {"auto", "few", "paper"}
        few: no network is trained. Ridge and logistic regression are fitted on the concatenated Fisher vectors of
        filters and patches inside the lung and, if it improves the scores of held-out patients, on lung densities. If
        the extra [pretrained] is installed, a second pair of systems also uses the Fisher vectors of a frozen ImageNet
        network. paper: a trained CNN, and linear regression on the conv1 Fisher vectors of the whole slice. auto: few
        for fewer than 2,000 labelled slices or for labels of scans, otherwise paper.
    device : str
        auto, cpu, cuda or cuda:i.
    epochs : int, optional
        Number of training epochs, with recipe "paper".
    patience : int, optional
        Number of epochs without improvement after which training stops, with recipe "paper".
    bags : {"noisy-or", "max"}, optional
        With labels of scans: how slice scores are pooled into the score of a scan, by default noisy-or. Recipe
        "few" then fits logistic heads only, and "paper" is refused.

    Returns
    -------
    dict
        recipe: the name of the recipe. slices, patients: numbers of tested slices and patients. systems: by name, in
        the order of `pooled_results`, {"auc": {pattern: value}, "auc_interval": {pattern: [low, high]}, "mean_auc",
        "mean_auc_interval", "supported_mean_auc", "supported_mean_auc_interval"}. supported: the patterns over which
        "supported_mean_auc" is the mean: their AUC depends on at least five patients. against_baseline: one dict per
        system and measure. comparisons: `Comparison` documents. inputs: the inputs of each head (`used_inputs`). notes:
        sentences. pixel_counts: whether any label is a number of pixels, to which the threshold is applied. Also data,
        threshold and folds. AUCs are over all folds; undefined values are None. With labels of scans, all measures are
        per scan, and there are two more keys: unit ("scan") and scans (the number of scans).

    Raises
    ------
    InputError
        An option is invalid or does not apply to the labels, or the folds or slices are not valid.
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
        options = " and ".join(unused)
        progress.note(f"recipe few trains no network, so {options} had no effect: use --recipe paper to train one")
    kept = Kept(progress)
    score_baselines(root, kept=kept, progress=progress)
    for fold in range(folds.n_folds):
        if chosen == FEW:
            _few(root, fold, device, SCAN_HEADS if of_scans else FEW_HEADS, bags, kept, progress)
        else:
            _paper(root, fold, device, {"epochs": epochs, "patience": patience}, kept, progress)
    if kept.kept:
        known, number = len(kept.kept), len(kept.kept) + len(kept.computed)
        which = "all" if known == number else f"{known} of"
        progress.note(f"{which} {counted(number, 'result')} were kept: their settings and inputs are unchanged")
    return {"recipe": chosen, **summary(workspace, slices)}


def summary(workspace: Workspace, slices: Slices) -> dict:
    """The pooled results of all systems that were scored on all folds, see `fit`."""
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
        "notes": list(labels(found).values()),
    }


def _numbers(slices: Slices, systems: Pool, results: list[Results]) -> dict:
    """The fields slices and, with labels of scans, unit and scans."""
    if slices.scan_labels is None:
        return {"slices": results[0].n_slices if results else 0}
    tested = np.concatenate([rows for rows, _ in next(iter(systems.values()))]) if systems else np.empty(0, int)
    return {"unit": SCAN, "scans": len(tested), "slices": int(slices.sizes[tested].sum())}


def _few(
    root: Path, fold: int, device: str, heads: Sequence[str], bags: str | None, kept: Kept, progress: Progress
) -> None:
    for layer in FEW_LAYERS:
        settings = EncodeSettings(layer=layer, region=LUNG, **FEW_SETTINGS)
        encode_slices(root, settings, fold=fold, device=device, progress=progress)
    systems: list[tuple[str, ...]] = [FEW_LAYERS]
    if network_available():
        settings = EncodeSettings(layer=FEW_NETWORK_LAYER, region=LUNG, **FEW_SETTINGS)
        encode_slices(root, settings, fold=fold, network=FEW_NETWORK, device=device, progress=progress)
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
                progress=progress,
            )


def network_available() -> bool:
    """Whether the frozen network of the recipe "few" and its weights are installed."""
    from ildfv.train.pretrained import is_available

    return is_available(FEW_NETWORK)


def _paper(root: Path, fold: int, device: str, options: dict[str, int | None], kept: Kept, progress: Progress) -> None:
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    train_network(root, fold=fold, device=device, kept=kept, progress=progress, **given)
    encode_slices(root, EncodeSettings(layer=PAPER_LAYER), fold=fold, device=device, progress=progress)
    regress_encoding(root, layer=PAPER_LAYER, fold=fold, kept=kept, progress=progress)


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
