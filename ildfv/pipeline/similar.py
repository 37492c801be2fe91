"""Search in a study for slices of other patients that are similar to a slice of a scan, by projected Fisher vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.counted import counted
from ildfv.datasets.convert import read_volume
from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.inference.chosen_series import choose
from ildfv.inference.gallery import Group, Picture, gallery
from ildfv.inference.input import notes_on_source, scans_in
from ildfv.inference.pseudonym import pseudonym
from ildfv.inference.similar import NearestRows
from ildfv.patterns import PATTERNS, presence
from ildfv.pipeline.choices import LUNG, SLICE
from ildfv.pipeline.encode_again import encode_again
from ildfv.pipeline.encodings import Encoding, encoding_of
from ildfv.pipeline.location import split_slice
from ildfv.pipeline.other_patients import Query, own_slices, search_others
from ildfv.pipeline.projector import Projector, projector
from ildfv.pipeline.recorded_weights import has_weights
from ildfv.pipeline.training_statistics import how_prepared
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.scans.hounsfield import mean_hounsfield
from ildfv.scans.image_lungs import image_lungs
from ildfv.scans.libraries import quiet
from ildfv.scans.lungs import check_lung, lung_mask
from ildfv.scans.preparation import applied
from ildfv.scans.prepared_lungs import LUNGMASK, scan_lungs
from ildfv.scans.volume import Volume
from ildfv.scans.windows import NORMAL, nearest, windowed

COUNT = 10  # default number of results
VERSION = 1


@dataclass(frozen=True)
class Found:
    """The result of a search as JSON values, and the images of the query and of each result, uint8 (224, 224)."""

    document: dict
    query: np.ndarray
    results: list[np.ndarray]


def similar_slices(
    root: Path,
    scan: str | Path,
    *,
    count: int = COUNT,
    per_patient: int | None = None,
    layer: str | None = None,
    region: str = SLICE,
    fold: int | None = None,
    series: str | None = None,
    weights: Sequence[Path] = (),
    device: str = "cpu",
    progress: Progress = SILENT,
) -> Found:
    """The slices nearest to one slice of a scan, by Euclidean distance of projected Fisher vectors.

    Parameters
    ----------
    root : path
        The workspace.
    scan : path
        A scan, or SCAN:N for its slice N; the lowest slice is slice 1. Without N, the slice with the most lung is used.
        In a workspace of images, an image.
    count : int
        Number of results.
    per_patient : int, optional
        Maximum number of results per patient.
    layer, region, fold : optional
        Select the encoding; by default the newest. Encodings by a frozen network whose weights are neither given nor
        installed with a package are used only if there are no others.
    series : str, optional
        SeriesInstanceUID of the series to use if there are several; by default the series with the most slices.
    weights : sequence of path
        Files with the weights of the frozen network with which the encoding was made. Weights that are installed with a
        package need not be given.

    Raises
    ------
    InputError
        A number is less than 1; there is no readable scan, no such slice, no lung on the slice, or no suitable
        encoding; or the weights or the trained network of the encoding are missing or have changed.
    """
    check(count >= 1, f"count must be at least 1, got {count}")
    check(per_patient is None or per_patient >= 1, f"per_patient must be at least 1, got {per_patient}")
    workspace = Workspace.open(root)
    slices = workspace.slices()
    encoding = encoding_of(workspace, fold, layer, region, usable=lambda one: has_weights(one.inputs, weights))
    check(
        encoding.inputs["slices"] == slices.key,
        f"{encoding.folder} must be made from the current slices, which have changed: run `{encode_again(encoding)}`",
    )
    path, number = split_slice(scan)
    grey = how_prepared(slices).grey
    available = scans_in(path, grey)
    if grey is not None:
        rule = f"{path} must be one PNG, JPEG or TIFF image, because the study consists of images ({grey.option})"
        check(len(available.scans) == 1, f"{rule}, got {len(available.scans) or 'none'}")
    chosen, notes = choose(available, series, path)
    with quiet():
        volume, _, changes = applied(read_volume(chosen), slices.preparation)
    notes += [*changes, *notes_on_source(chosen)]
    z = _slice(volume, number, path, lung_mask if grey is None else image_lungs)
    if number is None:
        notes = [*notes, f"slice {z + 1} of {len(volume.hu)} is used, because it shows the most lung"]
    image = windowed(volume.hu[z])
    progress.note(f"encoding: {encoding.folder}")
    project = projector(workspace, encoding, device, weights, progress)
    hu = mean_hounsfield(volume.hu[z])[None, None] if project.reads_hounsfield else None
    in_lung = encoding.region == LUNG and slices.preparation.lungs == LUNGMASK
    lung = nearest(scan_lungs(volume.hu)[[z]]) if in_lung else None
    if grey is not None:
        lung = nearest(image_lungs(volume.hu[z], volume.pixel_area)[None])
    query = project(image[None], volume.paper_pixel_area, hu, lung)[0]
    index = NearestRows(encoding.projections())
    own = own_slices(slices, chosen, workspace.settings.salt)
    asked = Query.of(volume, z, image, query)
    indices, distances, same = search_others(index, asked, slices, own, count, per_patient)
    notes = [*notes, *_notes(own, same, workspace)]
    results = [_result(slices, workspace, *pair) for pair in zip(indices.tolist(), distances.tolist(), strict=True)]
    document = {
        "kind": "ildfv similar slices",
        "version": VERSION,
        "use": "research use only",
        "data": slices.data,
        "query": {
            "scan": pseudonym(chosen),
            "slice": z + 1,
            "slices": len(volume.hu),
            "position_mm": float(volume.positions[z]),
        },
        "encoding": _described(project, encoding),
        "searched": {
            "slices": int((~same).sum()),
            "patients": len(set(slices.patients[~same].tolist())),
            "excluded_slices_of_the_same_patient": int(same.sum()),
            "search": "FAISS" if index.uses_faiss else "NumPy",
        },
        "notes": notes,
        "results": [{"rank": rank, **one} for rank, one in enumerate(results, start=1)],
    }
    return Found(document, image[NORMAL], list(slices.images(indices)[:, NORMAL]))


def _slice(volume: Volume, number: int | None, path: Path, lung_of: Callable[[np.ndarray, float], np.ndarray]) -> int:
    """The index of the slice. number: slice number from 1; None: the slice with the most lung.

    lung_of: the lung of a slice, from its HU and the area of a pixel.

    InputError: there is no such slice, or it shows no lung.
    """
    if number is not None:
        m = len(volume.hu)
        check(1 <= number <= m, f"the slice number of {path} must be 1 to {m}, got {number}")
        lung = np.array([np.count_nonzero(lung_of(volume.hu[number - 1], volume.pixel_area))])
        check(bool(lung[0]), f"slice {number} of {path} must show lung, got none: choose another slice")
        return number - 1
    lung = np.array([np.count_nonzero(lung_of(one, volume.pixel_area)) for one in volume.hu])
    check_lung(lung, volume.pixel_area)
    return int(lung.argmax())


def _notes(own: np.ndarray, same: np.ndarray, workspace: Workspace) -> list[str]:
    found = []
    if own.any():
        found.append(f"the patient is in the study, so the slices of the patient ({int(own.sum())}) are excluded")
    if (same & ~own).any():
        number = int((same & ~own).sum())
        found.append(
            "the study contains slices with the anatomy of the scan under another name, so all slices of that patient "
            f"({number}) are excluded"
        )
    if workspace.settings.slices is not None:
        found.append(
            "the slices of the study were prepared in another workspace, so the patient is recognised only by the "
            "anatomy"
        )
    return found


def _result(slices: Slices, workspace: Workspace, index: int, distance: float) -> dict:
    counts = slices.counts[index]
    first = int(slices.starts[np.searchsorted(slices.starts, index, side="right") - 1])
    known = {pattern: None if n < 0 else int(n) for pattern, n in zip(PATTERNS, counts.tolist(), strict=True)}
    shown = presence(counts[None], workspace.settings.threshold, slices.lung[[index]])[0] > 0
    return {
        "distance": distance,
        "patient": str(slices.patients[index]),
        "series": str(slices.series[index]),
        "slice": index - first + 1,
        "index": index,
        "position_mm": float(slices.positions[index]),
        "pixels": known,
        "present": [pattern for pattern, present in zip(PATTERNS, shown, strict=True) if present],
    }


def _described(project: Projector, encoding: Encoding) -> dict:
    return {
        "layer": encoding.layer,
        "region": encoding.region,
        "fold": encoding.fold,
        "dimensions": len(project.pca.components_),
        "network": encoding.inputs["model"],
    }


def text_of_labels(result: dict) -> str:
    """The labels of a result as text."""
    if any(n is None for n in result["pixels"].values()):
        known = ", ".join(result["present"])
        return f"{known}; other patterns not labelled" if known else "not labelled"
    pixels = {pattern: result["pixels"][pattern] for pattern in result["present"]}
    return ", ".join(f"{p} ({counted(n, 'pixel')})" for p, n in pixels.items()) or "none of the patterns"


def similar_page(found: Found) -> str:
    """The result of a search as one HTML page with images, without external files."""
    document = found.document
    query, searched, encoding = (document[name] for name in ("query", "searched", "encoding"))
    at = f"slice {query['slice']} of {query['slices']}, {round(query['position_mm'])} mm"
    pictures = [
        Picture(
            image,
            f"{one['rank']}: distance {one['distance']:.4f}; {text_of_labels(one)}; patient {one['patient'][:8]}, "
            f"slice {one['slice']}",
            f"Similar slice {one['rank']}, lung window",
        )
        for one, image in zip(document["results"], found.results, strict=True)
    ]
    lines = [
        f"The query was compared with {counted(searched['slices'], 'slice')} of "
        f"{counted(searched['patients'], 'other patient')}, by "
        f"{counted(encoding['dimensions'], 'PCA projection')} of the Fisher vectors of {encoding['layer']}.",
        *document["notes"],
    ]
    groups = [
        Group(f"Query: {query['scan']}", [Picture(found.query, at, "The query, lung window")]),
        Group("Nearest slices", pictures),
    ]
    return gallery("Similar slices", lines, groups, phantom=document["data"] == "phantom")
