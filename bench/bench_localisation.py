"""Localisation by contributions of Fisher vectors, Grad-CAM, occlusion and controls, compared with label maps.

    python -m bench.bench_localisation -w STUDY [--fold 0] [--layers conv1,conv5] [--train 48] [--occluded 48]
        [--floors 0.5,0.9] [--out bench/results/localisation-DATE.json]

STUDY: a workspace with label maps, a network of the fold and scored encodings of the layers (`ildfv demo` makes one).
Thresholds for Dice and floors are chosen on training slices. All measures are computed on the held-out patients.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from ildfv.estimators.fisher import FisherVector
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.pca import PCA
from ildfv.estimators.regression import MultivariateRegression
from ildfv.inference.cnn_maps import deepest_map, grad_cam_values, occlusion
from ildfv.inference.contributions import contributions, floor_at, unlocated
from ildfv.inference.localisation import MEASURES, LabelledSlices, MapScores, System, evaluate_maps
from ildfv.inference.map_controls import CONTROLS
from ildfv.inference.placement import centred
from ildfv.patterns import PATTERNS
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.pipeline.train import newest_model
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.windows import SIZE
from ildfv.store.models import load_model
from ildfv.train.activations import Activations
from ildfv.train.networks import load
from ildfv.train.receptive import ReceptiveFields, receptive_fields

FLOOR_SLICES = 24  # training slices from which floors are chosen


def main() -> None:
    arguments = parsed()
    workspace = Workspace.open(arguments.workspace)
    slices = workspace.slices()
    split = split_slices(slices, load_folds(workspace), arguments.fold)
    training = LabelledSlices.read(slices, spread_out(split.fit, arguments.train))
    held_out = LabelledSlices.read(slices, spread_out(split.test, arguments.test))
    network = load(newest_model(workspace, arguments.fold))
    systems: dict[str, System] = dict(CONTROLS)
    notes: dict[str, float] = {}
    for layer in arguments.layers.split(","):
        systems |= of_layer(workspace, network, layer, arguments, training, notes)
    layer = deepest_map(network)
    cam = partial(grad_cam_values, network, layer=layer)
    systems |= placements(
        f"Grad-CAM {layer}", receptive_fields(network, layer), once(lambda i: cam(i).transpose(0, 2, 1))
    )
    occluded = once(partial(occlusion, network))
    count = [len(set(part.patients.tolist())) for part in (training, held_out)]
    print(f"{slices.data.upper()} data, fold {arguments.fold}: {len(held_out)} slices of {count[1]} held-out patients")
    print(f"thresholds and floors: {len(training)} slices of {count[0]} training patients")
    found = {}
    for within in ("slice", "lung"):
        scores = evaluate_maps(systems, training, held_out, within=within)
        if arguments.occluded:
            few = [part[spread_out(np.arange(len(part)), arguments.occluded)] for part in (training, held_out)]
            system = {f"occlusion ({len(few[1])} slices)": lambda slices: occluded(slices.images)}
            scores |= evaluate_maps(system, *few, within=within)
        found[within] = {name: summary(one) for name, one in scores.items()}
        show(within, found[within])
    for name, value in notes.items():
        print(f"{name}: {value:.3g}")
    if arguments.out:
        document = {
            "data": slices.data,
            "arguments": {k: str(v) for k, v in vars(arguments).items() if k != "workspace"},
        }
        arguments.out.write_text(json.dumps(document | {"notes": notes, "results": found}, indent=1))


def of_layer(workspace, network, layer: str, arguments, training: LabelledSlices, notes: dict) -> dict[str, System]:
    """Contribution maps of the scored encoding of a layer, with floors at these quantiles, in both placements."""
    folder = workspace.encoding_dir(layer, arguments.fold)
    mixture = GaussianMixture.from_tensors(*load_model(folder / "mixture"))
    pca = PCA.from_tensors(*load_model(folder / "pca"))
    regression = MultivariateRegression.from_tensors(*load_model(folder / "regression"))
    fisher, maps = FisherVector(mixture), Activations(network, layer)
    g = np.asarray(regression.coef_, np.float64) @ np.asarray(pca.components_, np.float64)
    some = maps(training.images[spread_out(np.arange(len(training)), FLOOR_SLICES)])
    fields, found = receptive_fields(network, layer), {}
    for quantile in (0.0, *map(float, filter(None, arguments.floors.split(",")))):
        name = f"contributions {layer}" + (f", floor at {quantile:g}" if quantile else "")
        floor = floor_at(fisher, some, quantile=quantile) if quantile else 0.0
        found |= placements(
            name, fields, lambda images, floor=floor: contributions(fisher, g, maps(images), floor=floor)
        )
        if quantile:
            total = contributions(fisher, g, some).sum(axis=1)
            rest = unlocated(fisher, g, some, floor=floor)
            what = "SD of the part of a score without location, divided by the SD of the score"
            notes[f"{name}: {what}"] = rest.std() / total.std()
    return found


def placements(name: str, fields: ReceptiveFields, values: Callable) -> dict[str, System]:
    """Two systems made from a function images → values of locations (b, n, C), which is cached by `once`."""

    def system(place, slices: LabelledSlices) -> np.ndarray:
        planes = values(slices.images).transpose(0, 2, 1)  # (b, C, n)
        return place(planes.reshape(-1, planes.shape[2])).reshape(*planes.shape[:2], SIZE, SIZE)

    places = {"spread": fields.spread, "centred": partial(centred, fields)}
    return {f"{name}, {placing}": partial(system, place) for placing, place in places.items()}


def once(function: Callable) -> Callable:
    """The function of images, computed once for each image."""
    known: dict[bytes, np.ndarray] = {}

    def kept(images: np.ndarray) -> np.ndarray:
        keys = [image.tobytes() for image in images]
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            known.update(zip((keys[i] for i in new), function(images[new]).astype(np.float32), strict=True))
        return np.stack([known[key] for key in keys])

    return kept


def spread_out(indices: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the indices, evenly spaced."""
    return indices[np.unique(np.linspace(0, len(indices) - 1, count).astype(int))]


def summary(scores: MapScores) -> dict:
    return {
        measure: {pattern: asdict(scores.estimate(measure, c)) for c, pattern in enumerate(PATTERNS)}
        for measure in MEASURES
    }


def show(within: str, found: dict) -> None:
    print(f"\nPixels of the whole {within}; means over slices with the pattern, 95 % intervals from resampled patients")
    for measure in MEASURES:
        print(f"\n{measure:46s}" + "".join(f"{pattern:>24s}" for pattern in PATTERNS))
        for name, rows in found.items():
            print(f"{name:46s}" + "".join(f"{cell(rows[measure][pattern]):>24s}" for pattern in PATTERNS))


def cell(row: dict) -> str:
    if row["value"] is None:
        return "–"
    interval = "" if row["interval"] is None else " [{:.2f}, {:.2f}]".format(*row["interval"])
    return f"{row['value']:.3f}{interval}"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-w", "--workspace", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--layers", default="conv1,conv5")
    parser.add_argument("--train", type=int, default=48, help="number of training slices for thresholds")
    parser.add_argument("--test", type=int, default=10_000, help="maximum number of held-out slices")
    parser.add_argument("--occluded", type=int, default=48, help="number of slices with occlusion maps")
    parser.add_argument("--floors", default="0.5,0.9", help="quantiles of |r_j| that are used as floors")
    parser.add_argument("--out", type=Path, default=None, help=f"JSON file, such as localisation-{date.today()}.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
