"""The mixture components of an encoding: weights, contributions to the scores, and the nearest training patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ildfv.counted import counted
from ildfv.errors import check
from ildfv.estimators.regression import MultivariateRegression
from ildfv.inference.components import Patch, mean_component_scores, nearest_patches, picture
from ildfv.inference.gallery import Group, Picture, gallery
from ildfv.inference.gallery_file import check_gallery, write_gallery
from ildfv.inference.stored_lung import stored_lung
from ildfv.patterns import PATTERNS
from ildfv.pipeline.choices import SLICE
from ildfv.pipeline.descriptors import images_of
from ildfv.pipeline.encodings import Encoding, encoding_of
from ildfv.pipeline.location import option_of
from ildfv.pipeline.projector import projector
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.models import has_model, load_model

SLICES = 200  # maximum number of training slices that are read; they are evenly spaced
COUNT = 8  # patches per component
VERSION = 1


def describe_components(
    root: Path,
    *,
    layer: str | None = None,
    region: str = SLICE,
    fold: int | None = None,
    count: int = COUNT,
    slices_read: int = SLICES,
    weights: Sequence[Path] = (),
    out: Path | None = None,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> dict:
    """The components as JSON values, largest weight first. With `out`, also writes a page with the nearest patches.

    Parameters
    ----------
    root : path
        The workspace.
    layer, region, fold : optional
        Select the encoding, which must have a linear regression; by default the newest that has one.
    count : int
        Maximum number of patches per component. At most one is from each patient.
    slices_read : int
        Maximum number of training slices from which patches and contributions are computed; they are evenly spaced.
    weights : sequence of path
        Files with the weights of the frozen network with which the encoding was made. Weights that are installed with a
        package need not be given.
    out : path, optional
        Path of the HTML page, which contains images of patients.
    device : str
        The torch device, such as cpu or cuda:0.

    Raises
    ------
    InputError
        A number is less than 1, `out` cannot be written, there is no such encoding, it has no linear regression, or the
        weights or the trained network are missing or have changed.
    """
    check(count >= 1, f"count must be at least 1, got {count}")
    check(slices_read >= 1, f"slices_read must be at least 1, got {slices_read}")
    if out is not None:
        check_gallery(out)
    workspace = Workspace.open(root)
    slices = workspace.slices()
    encoding = encoding_of(workspace, fold, layer, region, usable=_has_linear)
    where = "" if encoding.region == SLICE else f" --region {encoding.region}"
    check(
        _has_linear(encoding),
        f"{encoding.folder} must have a linear regression, got none: run "
        f"`ildfv regress --layer {encoding.layer}{where} --fold {encoding.fold}{option_of(root)}`",
    )
    project = projector(workspace, encoding, device, weights, progress)
    regression = MultivariateRegression.from_tensors(*load_model(encoding.folder / "regression"))
    g = np.asarray(regression.coef_, np.float64) @ np.asarray(project.pca.components_, np.float64)
    fit = split_slices(slices, load_folds(workspace), encoding.fold).fit
    chosen = fit[np.unique(np.linspace(0, len(fit) - 1, slices_read).astype(int))]
    areas, owners = np.asarray(slices.paper_pixel_area), slices.patients[chosen].tolist()
    mixture = project.fisher.fitted_mixture()

    def region_weights(indices: np.ndarray) -> np.ndarray | None:
        if encoding.region == SLICE:
            return None
        lung = stored_lung(slices, indices)
        masks = [None] * len(indices) if lung is None else lung[:, None]
        found = [
            project.weights(slices.images([index]), float(areas[index]), mask)
            for index, mask in zip(indices.tolist(), masks, strict=True)
        ]
        return np.concatenate([one for one in found if one is not None])

    progress.note(f"reading {counted(len(chosen), 'training slice')}")
    read = images_of(encoding, slices).images
    patches = nearest_patches(mixture, project.maps, project.fields, read, chosen, owners, count=count)
    means, deviations = mean_component_scores(project.fisher, g, project.maps, read, chosen, region_weights)
    order = np.argsort(-mixture.weights_, kind="stable").tolist()
    if out is not None:
        groups = [_group(slices, k, float(mixture.weights_[k]), means[:, k], patches[k]) for k in order]
        lines = [
            f"The components of the mixture of {encoding.layer}, fold {encoding.fold}, largest weight first. The "
            f"patches are the locations in {counted(len(chosen), 'training slice')} whose descriptors are nearest to a "
            "component's mean, at most one per patient. The frame shows the receptive field.",
            "This page contains images of patients of the study.",
        ]
        page = gallery("Components", lines, groups, phantom=slices.data == "phantom")
        write_gallery(out, page)
    return {
        "kind": "ildfv components",
        "version": VERSION,
        "data": slices.data,
        "layer": encoding.layer,
        "region": encoding.region,
        "fold": encoding.fold,
        "slices": len(chosen),
        "components": [
            {
                "component": k,
                "weight": float(mixture.weights_[k]),
                "mean_part_of_score": dict(zip(PATTERNS, means[:, k].tolist(), strict=True)),
                "sd_of_part": dict(zip(PATTERNS, deviations[:, k].tolist(), strict=True)),
                "patches": [
                    {
                        "index": p.index,
                        "patient": str(slices.patients[p.index]),
                        "rows": p.rows,
                        "columns": p.columns,
                        "distance": p.distance,
                    }
                    for p in patches[k]
                ],
            }
            for k in order
        ],
    }


def _group(slices, k: int, weight: float, means: np.ndarray, patches: list[Patch]) -> Group:
    parts = ", ".join(f"{name} {value:+.3f}" for name, value in zip(PATTERNS, means.tolist(), strict=True))
    pictures = [
        Picture(
            picture(slices.images([patch.index])[0], patch),
            f"patient {slices.patients[patch.index][:8]}, distance {patch.distance:.2f}",
            f"Training patch near component {k}, lung window",
        )
        for patch in patches
    ]
    return Group(f"Component {k}, weight {weight:.3f}", pictures, f"Mean contribution to the score: {parts}")


def _has_linear(encoding: Encoding) -> bool:
    return has_model(encoding.folder / "regression")
