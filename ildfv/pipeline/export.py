"""A study as a predictor: the newest systems of a fold, without slices, identities or paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.evaluation.documents import Results
from ildfv.evaluation.thresholds import Decisions
from ildfv.inference.model_card import model_card
from ildfv.inference.predictor import INFO, NETWORK, Predictor, prefixed
from ildfv.inference.schema import USE, Head, PatternPerformance, Performance, PredictorInfo, Reference, Sigmoid
from ildfv.patterns import PATTERNS
from ildfv.pipeline.encodings import Encoding, newest
from ildfv.pipeline.split import Split, load_folds, split_slices
from ildfv.pipeline.train import newest_model
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.scans.windows import SIZE, WINDOWS
from ildfv.store.kinds import document_kind
from ildfv.store.models import has_model, load_info, load_model
from ildfv.version import versions

REFERENCE_SLICES = 512  # training slices whose likelihood is computed, evenly spaced
QUANTILES = 101


def export_predictor(
    root: Path,
    out: Path,
    *,
    fold: int | None = None,
    layer: str | None = None,
    region: str = "slice",
    cnn: bool = True,
    progress: Progress = SILENT,
) -> PredictorInfo:
    """The predictor written to `out`: the regression on the newest encoding (of this layer in this region, and fold, if
    given), and with `cnn` the network's own outputs.

    Its thresholds, calibration and performance are those of the fold's results. InputError: nothing is scored, or `out`
    contains something else.
    """
    workspace, out = Workspace.open(root), Path(out)
    occupied = out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / INFO).exists()))
    check(not occupied, f"{out} must be a new or empty folder, or a predictor to replace, got something else")
    slices = workspace.slices()
    name = None if layer is None else workspace.encoding_dir(layer, 0, region).parent.name
    encoding = newest(workspace, fold, name)
    check(
        "model_sha256" in encoding.inputs,
        f"layer {encoding.layer} must be of a network trained in this workspace, as no other can be exported yet, got "
        f"{encoding.inputs['model']}: use --layer, such as conv1",
    )
    split = split_slices(slices, load_folds(workspace), encoding.fold)
    model_name = encoding.inputs["model"].partition("/")[0]
    model = newest_model(workspace, encoding.fold, model_name)
    values, info = load_model(model)
    fisher = _fisher_head(workspace, encoding)
    heads, tensors = [fisher], _fisher_tensors(encoding, fisher.name)
    results = workspace.results_dir / f"cnn-{model_name}-fold-{encoding.fold}.json"
    if cnn and results.exists():
        heads.append(_cnn_head(results, info))
    network_layer = None if len(heads) > 1 else encoding.layer
    tensors |= prefixed(NETWORK, _needed(info, values, network_layer))
    fields: dict[str, Any] = {
        "use": USE,
        "patterns": list(PATTERNS),
        "windows": [list(window) for window in WINDOWS],
        "size": SIZE,
        "network": info["network"],
        "n_outputs": info["n_outputs"],
        "network_layer": network_layer,
        "training": _training(slices, split),
        "versions": versions(),
    }
    draft = PredictorInfo(
        kind="ildfv predictor",
        version=1,
        heads=heads,
        reference=Reference(
            log_likelihood={}, pixel_side=_pixel_sides(slices, split), spacing=_spacings(slices, split)
        ),
        tensors_sha256="",
        **fields,
    )
    likelihood = _likelihoods(Predictor(draft, tensors, checksum=""), slices, split, fisher.name, progress)
    reference = draft.reference.model_copy(update={"log_likelihood": {fisher.name: likelihood}})
    card = model_card(draft.model_copy(update={"reference": reference}))
    return Predictor.save(out, {**fields, "heads": heads, "reference": reference}, tensors, card)


def _fisher_head(workspace: Workspace, encoding: Encoding) -> Head:
    system = f"fv-{encoding.folder.parent.name}"
    path = workspace.results_dir / f"{system}-fold-{encoding.fold}.json"
    if not path.exists() or not has_model(encoding.folder / "regression"):
        where = "" if encoding.region == "slice" else f" --region {encoding.region}"
        raise InputError(f"{encoding.folder} is not scored: run `ildfv regress --layer {encoding.layer}{where}`")
    results = _results(path)
    regression = load_info(encoding.folder / "regression")
    infos = {name: load_info(encoding.folder / name) for name in ("mixture", "pca", "regression")}
    return Head(
        name=system,
        kind="fisher",
        target=regression["regress"]["target"],
        layer=encoding.layer,
        region=encoding.region,
        lungs=encoding.inputs.get("lungs", "rule"),
        improved=encoding.inputs["improved"],
        estimators={name: _estimator(info) for name, info in infos.items()},
        **_decided(results),
    )


def _estimator(info: dict) -> dict:
    """The description of an estimator without what else its file records."""
    return {name: info[name] for name in ("estimator", "settings", "learned")}


def _fisher_tensors(encoding: Encoding, head: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name in ("mixture", "pca", "regression"):
        found |= prefixed(f"{head}.{name}", load_model(encoding.folder / name)[0])
    return found


def _cnn_head(path: Path, info: dict) -> Head:
    results = _results(path)
    settings = results.settings["train"]
    return Head(name=results.system, kind="cnn", target=settings["target"], **_decided(results))


def _results(path: Path) -> Results:
    kind = document_kind(Path("results") / path.name)
    from ildfv.pipeline.kinds import load_kinds

    if kind is None:
        load_kinds()
        kind = document_kind(Path("results") / path.name)
    assert kind is not None
    return kind.read(path)


def _decided(results: Results) -> dict[str, Any]:
    """Threshold, calibration and performance of a head, from its results."""
    assert results.fold is not None  # results of one fold
    decisions: Decisions = results.decisions[str(results.fold)]
    sigmoids = [None if s is None else Sigmoid(slope=s.slope, intercept=s.intercept) for s in decisions.sigmoids]
    patterns = {
        name: PatternPerformance(
            auc=row.auc, auc_interval=row.auc_interval, f=row.f, f_interval=row.f_interval, positives=row.positives
        )
        for name, row in results.per_pattern.items()
    }
    return {
        "threshold": results.threshold,
        "thresholds": list(decisions.thresholds),
        "sigmoids": sigmoids,
        "performance": Performance(
            data=results.data,
            fold=results.fold,
            slices=results.n_slices,
            patients=results.n_patients,
            patterns=patterns,
        ),
    }


def _needed(info: dict, values: dict[str, np.ndarray], layer: str | None) -> dict[str, np.ndarray]:
    """The weights of the network up to the layer; all of them if it is None."""
    from ildfv.train.activations import Activations
    from ildfv.train.networks import restored, tensors

    network = restored(info["network"], info["n_outputs"], values)
    return tensors(network if layer is None else Activations(network, layer).alone().network)


def _training(slices: Slices, split: Split) -> dict[str, Any]:
    """Numbers of the training data; no identities."""
    patients = slices.patients
    return {
        "data": slices.data,
        "held_out_fold": split.fold,
        "fit_slices": len(split.fit),
        "fit_patients": len(set(patients[split.fit].tolist())),
        "validation_slices": len(split.validation),
        "validation_patients": len(set(patients[split.validation].tolist())),
    }


def _pixel_sides(slices: Slices, split: Split) -> tuple[float, float]:
    sides = np.sqrt(np.asarray(slices.pixel_area)[split.fit])
    return float(sides.min()), float(sides.max())


def _spacings(slices: Slices, split: Split) -> tuple[float, float] | None:
    """Smallest and largest median distance of slices of a training scan, mm; None if no scan has two."""
    series, found = slices.series[split.fit], []
    for name in np.unique(series):
        positions = np.sort(slices.positions[split.fit][series == name])
        if len(positions) > 1:
            found.append(float(np.median(np.diff(positions))))
    return (min(found), max(found)) if found else None


def _likelihoods(predictor: Predictor, slices: Slices, split: Split, head: str, progress: Progress) -> list[float]:
    """Quantiles over training slices of the mean log likelihood per descriptor."""
    chosen = split.fit[np.unique(np.linspace(0, len(split.fit) - 1, REFERENCE_SLICES).astype(int))]
    areas, values = np.asarray(slices.pixel_area), []
    with progress.task("Reference statistics", total=len(chosen)) as advance:
        for area in np.unique(areas[chosen]):
            same = chosen[areas[chosen] == area]
            values.append(predictor.log_likelihoods(slices.images(same), float(area), head))
            advance(len(same))
    every = np.concatenate(values)
    every = every[np.isfinite(every)]
    check(len(every) > 0, f"training slices must have descriptors in the region of {head}, got none")
    return np.quantile(every, np.linspace(0, 1, QUANTILES)).tolist()
