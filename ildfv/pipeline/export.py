"""Exports systems of a workspace as a predictor, which contains no slices, identities or paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ildfv.errors import check
from ildfv.inference.model_card import model_card
from ildfv.inference.predictor_files import write_predictor
from ildfv.inference.predictor_location import INFO
from ildfv.inference.schema import PredictorInfo
from ildfv.pipeline.by_scan import poolings_of
from ildfv.pipeline.choices import SLICE
from ildfv.pipeline.encodings import FINISHED
from ildfv.pipeline.everyone import Everyone
from ildfv.pipeline.expected import HeldOut
from ildfv.pipeline.exported_networks import Networks
from ildfv.pipeline.exported_parts import Export
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.pipeline.system_names import CNN_PREFIX
from ildfv.pipeline.systems import by_name, chosen
from ildfv.pipeline.training_statistics import how_prepared
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress


def export_predictor(
    root: Path,
    out: Path,
    *,
    fold: int | None = None,
    system: Sequence[str] = (),
    layer: str | Sequence[str] | None = None,
    region: str | None = None,
    head: Sequence[str] = (),
    bags: str | None = None,
    cnn: bool | None = None,
    all_patients: bool = False,
    primary: str | None = None,
    weights: Sequence[Path] = (),
    include_weights: bool = True,
    progress: Progress = SILENT,
) -> PredictorInfo:
    """Writes a predictor with systems of a workspace to `out` and returns its info.

    Thresholds, calibration and performance are from the results on the held-out fold or, with `all_patients`, from the
    results on all folds.

    Parameters
    ----------
    root, out : path
        The workspace, and the folder of the predictor: new, empty, or a predictor that is replaced.
    fold : int, optional
        The held-out fold; by default the fold of the newest encoding, or 0 if only networks are exported. With
        `all_patients`, the held-out fold of the network.
    system : sequence of str
        Names of systems as in the results, such as "fv-filters-lung-ridge" or "cnn-cnnf". Excludes `layer`, `region`,
        `head`, `bags` and `cnn`, which select systems by the parts of their names.
    layer : str or sequence of str, optional
        Layers whose Fisher vectors are exported, each with one or more heads. "filters+patches" concatenates two
        layers. By default the layer of the newest encoding.
    region : str, optional
        Region of the layers: slice, body or lung; by default slice. Only with `layer`.
    head : sequence of {"linear", "ridge", "logistic"}
        Kinds of regression, or kinds with choices as in names of systems, such as "ridge-density-off"; by default all
        fitted regressions.
    bags : {"noisy-or", "max"}, optional
        With labels of scans: only regressions that pool slice scores in this way; by default all.
    cnn : bool, optional
        Whether to add the outputs of the network as a head. In a workspace without encodings, it is the only head. By
        default it is added if the network was scored.
    all_patients : bool
        Whether to fit mixture, PCA and regression on all labelled patients, after cross-validation over all folds. The
        network is the one trained for `fold`.
    primary : str, optional
        Name of the head that is shown first; by default the first head.
    weights : sequence of path
        Files with the weights of frozen networks. Weights that are installed with a package need not be given.
    include_weights : bool
        Whether the predictor contains the weights of frozen networks, or only the checksums of the files.

    Raises
    ------
    InputError
        An option is invalid or contradicts another, a system was not scored or is out of date, `out` contains other
        files, or weights are missing.
    """
    workspace, out = Workspace.open(root), Path(out)
    occupied = out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / INFO).exists()))
    check(not occupied, f"{out} must be new, an empty folder or a predictor, got other files: choose another --out")
    slices, folds = workspace.slices(), load_folds(workspace)
    preparation = how_prepared(slices)
    layers = [] if layer is None else [layer] if isinstance(layer, str) else list(layer)
    _check_selection(system, layer=layers, region=region, head=head, bags=bags, cnn=cnn)
    only_network = cnn is True and not layers and not any(workspace.encodings_dir.glob(f"*/*/{FINISHED}"))
    networks = [name.removeprefix(CNN_PREFIX) for name in system if name.startswith(CNN_PREFIX)]
    regressions = [name for name in system if not name.startswith(CNN_PREFIX)]
    if system:
        systems = by_name(workspace, regressions, fold) if regressions else []
    elif only_network:
        systems = []
    else:
        systems = chosen(workspace, layers, region or SLICE, head, fold, poolings_of(slices, bags))
    held_out_fold = systems[0].fold if systems else fold or 0
    export = Export(
        workspace,
        slices,
        folds,
        split_slices(slices, folds, held_out_fold),
        HeldOut.read(workspace, slices),
        Networks(workspace, slices, weights, include_weights, progress),
        Everyone.of(workspace, slices, folds.sha256) if all_patients else None,
        preparation,
        progress,
    )
    for one in systems:
        export.add(one)
    if system:
        for name in networks:
            export.add_network(name)
    else:
        export.add_networks(cnn)
    info, tensors = export.finished(primary or (system[0] if system else None))
    return write_predictor(out, info, tensors, model_card)


def _check_selection(system: Sequence[str], **parts: Any) -> None:
    """Raises InputError if the options that select systems contradict each other. parts: all options but `system`."""
    given = [f"--{name}" for name, value in parts.items() if value not in (None, (), [])]
    given = ["--no-cnn" if name == "--cnn" and parts["cnn"] is False else name for name in given]
    rule = "--system must be given without options that select systems by the parts of their names"
    check(not (system and given), f"{rule}, got {' and '.join(given)}: omit --system, or all others")
    alone = parts["region"] is not None and not parts["layer"]
    check(not alone, f"--region {parts['region']} needs a layer, got none: add --layer, or use --system")


def scored_on_all_folds(root: Path, info: PredictorInfo) -> bool:
    """Whether the workspace has results of every head on every fold, which `all_patients` needs."""
    scored = {(one.system, one.fold) for one in Workspace.open(root).results().values()}
    return all((head.name, fold) in scored for head in info.heads for fold in range(info.training["folds"]))
