"""Multivariate linear regression of the patterns on the projections of an encoding, scored on the held-out fold."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ildfv import distributed
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.estimators.ecm import RegressionSums
from ildfv.estimators.regression_model import RegressionModel
from ildfv.evaluation.documents import Results
from ildfv.evaluation.metrics import roc_auc
from ildfv.patterns import PATTERNS, Threshold
from ildfv.pipeline.by_scan import pooling_of
from ildfv.pipeline.choices import AUTO, LINEAR, SLICE, check_head, check_target
from ildfv.pipeline.encode_again import encode_again
from ildfv.pipeline.encodings import Encoding, newest
from ildfv.pipeline.heads import JOINED, check_head_of_labels, regress_head
from ildfv.pipeline.kept import FINGERPRINT, Kept, contents_of, fingerprint_of
from ildfv.pipeline.labels import regression_targets, target_of
from ildfv.pipeline.score import score
from ildfv.pipeline.split import Split, labelled_presence, load_folds, split_slices
from ildfv.pipeline.system_names import Choices, regression_folder, system_name
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import key_of, sweep
from ildfv.store.lock import writing
from ildfv.store.models import load_model, save_model
from ildfv.streaming.maps import by_part

# Candidates of ridge="auto": the penalty divided by the number of slices and the mean variance of the projections.
RIDGES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def regress_encoding(
    root: Path,
    *,
    layer: str | None = None,
    region: str = SLICE,
    fold: int | None = None,
    target: str | None = None,
    ridge: str | float = "auto",
    head: str = LINEAR,
    density: str = AUTO,
    bags: str | None = None,
    kept: Kept | None = None,
    progress: Progress = SILENT,
) -> Results | None:
    """Fits a regression on an encoding, by default the newest, and returns its results on the held-out fold.

    The result is None on ranks other than 0. The results are also written to results/.

    layer, region, fold: select the encoding. target: "counts", the pixel counts in units of the
    threshold T; "step" or "ramp", functions of the counts (the paper's Fig. 3); or "fraction", the fraction of the
    lung. The default of the linear head is counts, or step if some labels state only presence; that of the ridge head
    is step; the logistic head is always fitted to presence. head: "linear" or, for few slices, "ridge" or "logistic"
    (`pipeline.heads`). Every choice that is not the default is part of the name of the system.

    The linear head is fitted on the fit patients of the fold and written to regression/ in the folder of the encoding.
    Its decision thresholds, and its penalty if ridge is "auto", are chosen on the validation patients; otherwise ridge
    is a penalty as in `MultivariateRegression`. The other heads are fitted on all training patients and also take
    several layers, such as filters+patches. density: whether these heads may use the lung densities as additional
    inputs, "auto" or "off". bags: with labels of scans, how slice scores are pooled into the score of a scan,
    "noisy-or" (default) or "max"; only the logistic head can be fitted to such labels. kept: if given, a finished
    result with the same settings and inputs is returned and listed in `kept`, and the regression is not fitted again.

    InputError: an option is invalid or does not apply to the head or the labels, the linear head lacks labels of a
    pattern, another head is started on several ranks, or an encoding is missing or out of date.
    """
    distributed.start()
    workspace = Workspace.open(root)
    slices = workspace.slices()
    check(layer is not None or region == SLICE, f"--region {region} needs a layer, got none: add --layer")
    check_head(head, target, ridge, density)
    check_target(target)
    pooling = pooling_of(slices, bags)
    check_head_of_labels(head, slices)
    target = target_of(head, target, slices, progress)
    layers = [None] if layer is None else layer.split(JOINED)
    check(
        head != LINEAR or len(layers) == 1,
        f"layer must be a single layer with head linear, got {layer}: choose --head ridge or logistic",
    )
    names = [None if one is None else workspace.encoding_dir(one, 0, region).parent.name for one in layers]
    encoding = newest(workspace, fold, names[0])
    encodings = [encoding, *(newest(workspace, encoding.fold, name) for name in names[1:])]
    split = split_slices(slices, load_folds(workspace), encoding.fold)
    for one in encodings:
        _check_current(one, slices, split)
    ranks = distributed.size()
    check(
        head == LINEAR or ranks == 1,
        f'head "{head}" must run in one process, got {ranks} ranks: run it without torchrun',
    )
    asked = AUTO if ridge_penalty(ridge) is None else str(ridge)
    joined = JOINED.join(one.layer for one in encodings)
    home = workspace.encoding_dir(joined, encoding.fold, encoding.region)
    choices = Choices(head, target, penalty=asked) if head == LINEAR else Choices(head, target, pooling, density)
    folder = regression_folder(home, choices)
    inputs = {"regress": asdict(choices), "encodings": contents_of(encodings)}
    fingerprint = fingerprint_of(workspace, slices, split, inputs)
    if kept is not None:
        found = kept.finished(workspace, split, system_name(folder), fingerprint, folder)
        if distributed.from_main(found is not None):
            return found if distributed.is_main() else None
    if head != LINEAR:
        return regress_head(
            workspace,
            slices,
            split,
            encodings,
            kind=head,
            target=target,
            density=density,
            bags=pooling,
            folder=folder,
            fingerprint=fingerprint,
            progress=progress,
        )
    fitted = fit_regression(
        encoding,
        slices,
        split,
        target=target,
        ridge=ridge,
        threshold=workspace.settings.threshold,
        progress=progress,
    )
    if not distributed.is_main():
        return None
    settings = {
        "regress": {
            "layer": encoding.layer,
            "region": encoding.region,
            "target": target,
            "ridge": fitted.ridge,
            "ridge_asked": str(ridge),
        },
        "encode": encoding.info["inputs"],
    }
    with writing(folder):
        sweep(folder)
        save_model(folder, fitted.model.to_tensors(), {**fitted.model.info(), **settings})
    return score(
        workspace,
        slices,
        split,
        system=system_name(folder),
        validation_scores=fitted.validation,
        test_scores=fitted.test,
        settings=settings | {FINGERPRINT: fingerprint},
    )


@dataclass(frozen=True)
class Regression:
    """A fitted regression, its ridge penalty, and its scores (m, C) of the validation and test slices of the split."""

    model: RegressionModel
    ridge: float
    validation: np.ndarray
    test: np.ndarray


def fit_regression(
    encoding: Encoding,
    slices: Slices,
    split: Split,
    *,
    threshold: Threshold,
    target: str = "counts",
    ridge: str | float = "auto",
    progress: Progress = SILENT,
) -> Regression:
    """The regression of the patterns on an encoding's projections, fitted on the fit slices.

    ridge: a penalty, or "auto" for the penalty with the highest mean AUC on the validation slices. InputError: the
    penalty is negative or not a number, the target is unknown or does not apply to the labels, or a pattern has no
    label on the fit slices.
    """
    penalty = ridge_penalty(ridge)
    y = regression_targets(target, slices, split.fit, threshold)
    unknown = [p for p, column in zip(PATTERNS, y.T, strict=True) if not np.isfinite(column).any()]
    check(
        not unknown,
        f"head linear needs labels of every pattern on the fit slices, got none of {', '.join(unknown)}: use "
        "`ildfv regress --head ridge` or `--head logistic`",
    )
    sums = _sums(encoding, slices, split.fit, y, progress)
    variance = float(load_model(encoding.folder / "pca")[0]["explained_variance"].mean())
    candidates = [factor * variance * len(split.fit) for factor in RIDGES] if penalty is None else [penalty]
    models = [_solved(sums, candidate, standard_errors=False) for candidate in candidates]
    validation = _predict(encoding, slices, models, split.validation, progress)  # (models, m, 4)
    best = _best(validation, labelled_presence(slices, split.validation, threshold))
    model = _solved(sums, candidates[best])
    test = _predict(encoding, slices, [model], split.test, progress)[0]
    return Regression(model, candidates[best], validation[best], test)


def ridge_penalty(ridge: str | float) -> float | None:
    """The penalty as a number; None for "auto". InputError: it is negative, infinite or not a number."""
    if ridge == "auto":
        return None
    try:
        penalty = float(ridge)
    except ValueError:
        penalty = -1.0
    check(0 <= penalty < np.inf, f'ridge must be a finite number of at least 0, or auto, got "{ridge}"')
    return penalty


def _check_current(encoding: Encoding, slices: Slices, split: Split) -> None:
    """Raises InputError if the slices, folds or fit slices have changed since the encoding was made."""
    made_of = encoding.info["inputs"]
    for name, now in (("slices", slices.key), ("folds", split.folds), ("fit", key_of(split.fit.tolist()))):
        if made_of.get(name) != now:
            what = "fit slices" if name == "fit" else name
            rule = f"{encoding.folder} was made from {what} other than the current ones"
            raise InputError(f"{rule}: run `{encode_again(encoding)}`")


def _rows(
    encoding: Encoding, slices: Slices, indices: np.ndarray, what: str, progress: Progress
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Yields (positions in the ascending `indices`, projections) for each part of this rank's share."""
    wanted = by_part(slices, indices)
    mine = distributed.share(list(wanted))
    label, total = distributed.of_share(f"{encoding.layer}: {what}"), sum(len(wanted[part]) for part in mine)
    with progress.task(label, total=total) as advance:
        for part, (_, rows) in zip(mine, encoding.parts([slices.names[p] for p in mine]), strict=True):
            yield np.searchsorted(indices, wanted[part]), rows[wanted[part] - slices.starts[part]]
            advance(len(wanted[part]))


def _sums(encoding: Encoding, slices: Slices, fit: np.ndarray, y: np.ndarray, progress: Progress) -> RegressionSums:
    """The sufficient statistics over the fit slices, summed over ranks."""
    # RegressionSums has separate sums for every combination of known labels. None: all combinations may occur.
    complete = [(True,) * len(PATTERNS)] if np.isfinite(y).all() else None
    sums = RegressionSums(encoding.info["dimensions"], len(PATTERNS), patterns=complete)
    with closing(_rows(encoding, slices, fit, "regression", progress)) as pieces:
        for places, rows in pieces:
            sums.update(rows, y[places])
    return sums.reduced(distributed.sum_arrays if distributed.size() > 1 else None)


def _solved(sums: RegressionSums, ridge: float, *, standard_errors: bool = True) -> RegressionModel:
    # While other programs use the cores, the BLAS threads of these small products wait for each other most of the time.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.filterwarnings("ignore", message="the design has rank")  # expected with fewer slices than dimensions
        return RegressionModel(ridge=ridge).fit_sums(sums, standard_errors=standard_errors)


def _predict(
    encoding: Encoding, slices: Slices, models: list[RegressionModel], indices: np.ndarray, progress: Progress
) -> np.ndarray:
    """Scores (models, m, C) of these slices, summed over ranks: each rank computes its share, other values are 0."""
    answers = np.zeros((len(models), len(indices), len(PATTERNS)))
    with closing(_rows(encoding, slices, indices, "scores", progress)) as pieces:
        for places, rows in pieces:
            for number, model in enumerate(models):
                answers[number, places] = model.predict(rows.astype(np.float64))
    return distributed.sum_arrays({"answers": answers})["answers"]


def _best(answers: np.ndarray, truth: np.ndarray) -> int:
    """The index of the model with the highest mean AUC, the first if several are equal. Undefined AUCs are ignored."""
    known = truth >= 0
    aucs = np.array(
        [[roc_auc(y[on], f[on]) for y, f, on in zip(truth.T, one.T, known.T, strict=True)] for one in answers]
    )
    if np.isnan(aucs).all():
        return 0
    return int(np.nanmean(aucs, axis=1).argmax())
