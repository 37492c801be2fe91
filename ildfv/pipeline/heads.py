"""Ridge or logistic regression of the patterns on the projections of encodings and on lung densities, for few slices.

The inputs of a head are the projections of each encoding, divided by the scale of the encoding, followed by the
densities of `scans.density`, standardised by `density_inputs`. The folder of the regression (`system_names`) contains
everything that is needed to apply the head to other slices:

- the tensors `coef` (4, p) and `intercept` (4,), with scores = inputs·coefᵀ + intercept;
- if densities are inputs, the tensors `density_mean` and `density_scale` (36,), with
  input = (density − mean) / scale, or 0 on a slice without lung;
- in the metadata under "inputs", the "layer", "dimensions" and "scale" of each encoding, and in "density" the names of
  the 36 densities (`scans.density.COLUMNS`) or an empty list;
- in the metadata under "regress", "used": for each pattern, the key in `density_inputs.CANDIDATES` of the inputs that
  it uses. All other coefficients are 0.

If scans are labelled as a whole, the logistic head is fitted to the labels of scans: "bags" in the metadata under
"regress" names how slice scores are pooled into the score of their scan (`estimators.bags`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.estimators.head_choice import fit_chosen_head
from ildfv.estimators.heads import Head
from ildfv.evaluation.documents import Results
from ildfv.patterns import PATTERNS, Threshold
from ildfv.pipeline.by_scan import bag_targets, bags_of, refuse_scan_labels
from ildfv.pipeline.choices import AUTO, LOGISTIC
from ildfv.pipeline.density_inputs import NONE, Standard, candidates, densities_of
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.kept import FINGERPRINT
from ildfv.pipeline.labels import presence_labels, regression_targets
from ildfv.pipeline.score import score
from ildfv.pipeline.split import Split
from ildfv.pipeline.system_names import system_name
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.scans.density import COLUMNS
from ildfv.store.atomic import sweep
from ildfv.store.lock import writing
from ildfv.store.models import load_model, save_model

JOINED = "+"  # separates the names of the layers of a head on several encodings


@dataclass(frozen=True)
class HeadScores:
    """A head fitted on the training slices, and its scores.

    scales: scale of each encoding. standard: standardisation of the densities; None if they are not inputs. used: for
    each pattern, the key of the inputs in `density_inputs.CANDIDATES`. held_out: scores of training patients by models
    fitted without them. test: scores of the test slices.
    """

    head: Head
    scales: tuple[float, ...]
    standard: Standard | None
    used: tuple[str, ...]
    held_out: np.ndarray
    test: np.ndarray


def _total_deviation(encoding: Encoding) -> float:
    """The square root of the total variance of an encoding's projections, over the slices of the PCA fit."""
    tensors, _ = load_model(encoding.folder / "pca")
    return float(np.sqrt(tensors["explained_variance"].sum())) or 1.0


def check_head_of_labels(head: str, slices: Slices) -> None:
    """Raises InputError unless the head can be fitted to the labels of the workspace.

    Only the logistic head can be fitted to labels of scans. The other heads need a number for each slice.
    """
    if head != LOGISTIC:
        refuse_scan_labels(slices, f"head {head}", "use `ildfv regress --head logistic`")


def fit_on_encodings(
    kind: str,
    encodings: Sequence[Encoding],
    slices: Slices,
    split: Split,
    *,
    target: str,
    threshold: Threshold,
    seed: int,
    density: str = AUTO,
    bags: str | None = None,
    progress: Progress = SILENT,
) -> HeadScores:
    """The head fitted on all training slices. Penalties and inputs are chosen by cross-validation over their patients.

    The projections of each encoding are scaled to a total variance of 1, and then concatenated. density: whether the
    lung densities may be used as additional inputs (`density_inputs`), "auto" or "off". bags: if scans are labelled as
    a whole, how slice scores are pooled, "noisy-or" or "max"; otherwise None.
    """
    scales = tuple(_total_deviation(one) for one in encodings)
    blocks = [one.projections() / scale for one, scale in zip(encodings, scales, strict=True)]
    inputs = np.concatenate(blocks, axis=1).astype(np.float64)
    n_projections = inputs.shape[1]
    densities = densities_of(slices, progress) if density == AUTO else None
    standard = None if densities is None else Standard.fit(densities[split.train])
    offered = {NONE: np.ones(n_projections)}
    if densities is not None and standard is not None:
        inputs = np.concatenate([inputs, standard.transform(densities)], axis=1)
        offered = candidates(n_projections)
    train = None if bags is None else bags_of(slices, split.train, bags)
    if train is not None:
        y = bag_targets(slices, split.train)
    elif kind == LOGISTIC:
        y = presence_labels(slices, split.train, threshold)
    else:
        y = regression_targets(target, slices, split.train, threshold)
    patients = slices.patients[split.train]
    found = fit_chosen_head(kind, inputs[split.train], y, patients, candidates=offered, seed=seed, bags=train)
    held_out, test = found.head.held_out, found.head.predict(inputs[split.test])
    if bags is not None and train is not None:
        held_out, test = train.pooled(held_out), bags_of(slices, split.test, bags).pooled(test)
    return HeadScores(found.head, scales, standard, found.names, held_out, test)


def regress_head(
    workspace: Workspace,
    slices: Slices,
    split: Split,
    encodings: Sequence[Encoding],
    *,
    kind: str,
    target: str,
    density: str = AUTO,
    bags: str | None = None,
    folder: Path,
    fingerprint: str,
    progress: Progress = SILENT,
) -> Results:
    """Fits a head on one encoding, or on several of one fold and region, and returns its results on the held-out fold.

    folder: where the model is written, see `regression_folder`. fingerprint: hash of the settings and inputs, see
    `pipeline.kept`. density, bags: as for `fit_on_encodings`. Decision thresholds are fitted on cross-validated scores
    of the training patients, so no patients need to be reserved for them.
    """
    found = fit_on_encodings(
        kind,
        encodings,
        slices,
        split,
        target=target,
        density=density,
        bags=bags,
        threshold=workspace.settings.threshold,
        seed=workspace.settings.seed,
        progress=progress,
    )
    layer, region = JOINED.join(one.layer for one in encodings), encodings[0].region
    settings = {
        "regress": {
            "layer": layer,
            "region": region,
            "scales": list(found.scales),
            "head": kind,
            "target": target,
            "penalties": [None if np.isnan(p) else float(p) for p in found.head.penalties],
            "density": density,
            "used": dict(zip(PATTERNS, found.used, strict=True)),
            **({} if bags is None else {"bags": bags}),
        },
        "encode": encodings[0].inputs if len(encodings) == 1 else {one.layer: one.inputs for one in encodings},
    }
    inputs = {
        "encodings": [
            {"layer": one.layer, "dimensions": one.info["dimensions"], "scale": scale}
            for one, scale in zip(encodings, found.scales, strict=True)
        ],
        "density": [] if found.standard is None else list(COLUMNS),
    }
    tensors = found.head.to_tensors() | ({} if found.standard is None else found.standard.to_tensors())
    with writing(folder):
        sweep(folder)
        save_model(folder, tensors, {"estimator": "Head", "inputs": inputs, **settings})
    return score(
        workspace,
        slices,
        replace(split, validation=split.train),
        system=system_name(folder),
        validation_scores=found.held_out,
        test_scores=found.test,
        settings=settings | {FINGERPRINT: fingerprint},
    )
