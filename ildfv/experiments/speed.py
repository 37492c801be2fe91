"""Table 9: a sliding window of patches compared with whole slices: scores, label maps and time per slice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import torch

from ildfv.arrays import to_numpy
from ildfv.estimators.fisher import FisherVector
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.pca import PCA
from ildfv.estimators.regression import MultivariateRegression
from ildfv.evaluation.tables import Table
from ildfv.experiments import fitted, label_maps
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.recipes import Encoded, Patches
from ildfv.experiments.tables import MEANS, SOURCE, beside, measured, provenance
from ildfv.inference.sliding_window import label_map
from ildfv.patterns import PATTERNS
from ildfv.scans.prepared_lungs import lungs_of
from ildfv.store.models import load_model

TIME = "ms a slice"
PATCHES = "patch baseline"


def run(context: Context) -> Findings:
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    patches, layer = context.patches(PATCHES), context.preset.layer
    whole = context.cnn("CNN, whole slice", keep_weights=True)
    fisher = context.encoded(f"CNN to {layer}, Fisher vector, regression", layer)
    scored = measured(context, "speed", "Patch baseline and whole slices", [patches, whole, fisher], MEANS)

    fold = context.held_out()[0]
    indices = context.split(fold).test[: context.preset.timed_slices]
    images, areas = context.slices.images(indices), context.slices.pixel_area[indices]
    masks = lungs_of(images, areas, patches.lungs)
    window = load(fitted.patch_network(context, patches, fold), context.device)
    network = load(fitted.network(context, whole, fold), context.device)
    activations = Activations(load(fitted.network(context, fisher.network, fold), context.device), layer)
    regression = _regression(context, fisher, fold)

    def answer(i: int) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(images[i : i + 1]).to(context.device)).cpu().numpy()

    timed = {
        patches.label: milliseconds(
            lambda i: label_map(window, images[i], masks[i], device=context.device), len(images)
        ),
        f"lung mask for it, {patches.lungs}": milliseconds(
            lambda i: lungs_of(images[i : i + 1], areas[i : i + 1], patches.lungs), len(images)
        ),
        whole.label: milliseconds(answer, len(images)),
        fisher.label: milliseconds(lambda i: regression(activations(images[i : i + 1])), len(images)),
    }
    stops = np.median([label_map(window, *one, device=context.device)[1] for one in zip(images, masks, strict=True)])
    device = device_name(context)
    rows = [
        [*row[:3], device if row[1] == "this run" else context.paper.detail("speed", label, "device"), *row[3:]]
        for label, value in timed.items()
        for row in beside(context, "speed", label, [TIME], [value])
    ]
    note = (
        f"Median over {len(images)} held-out slices, one at a time, already read and windowed; the window has "
        f"{stops:.0f} positions on a slice (median) and also needs the lung mask."
    )
    notes = (note, busy(), provenance(context, "speed", rows), counted(context))
    times = Table("Table 9. Time per slice", [*SOURCE, "device", TIME], rows, " ".join(filter(None, notes)))
    found = [scored, times, overlapping(context, patches)]
    where = f"NIfTI label maps of all held-out scans: {label_maps.where(context, patches)}"
    return Findings(
        found,
        [patches, whole, fisher],
        [(whole, patches), (fisher, patches)],
        [where],
        label_maps.png_files(context, patches),
    )


def counted(context: Context) -> str:
    """The source of the paper's number of slices, if it is not the paper itself."""
    known = context.paper.values["known"]
    return f"Its number of slices, {known['slices']}, is from {known['slices_from']}." if "slices_from" in known else ""


def overlapping(context: Context, patches: Patches) -> Table:
    """Overlap of the window's label maps with the reference label maps."""
    note = (
        "Dice: twice the number of pixels in both the predicted and the reference label map, divided by the sum "
        "of their "
        "numbers of pixels, over all held-out slices."
    )
    row: list = [patches.label, "this run", context.slices.data, *label_maps.overlap(context, patches)]
    columns = [*SOURCE, *(f"Dice {pattern}" for pattern in PATTERNS)]
    return Table("Label maps of the patch baseline", columns, [row], note)


def _regression(context: Context, system: Encoded, fold: int) -> Callable:
    """Activation maps → scores, with the fitted parts of the system."""
    folder = fitted.encoding(context, system, fold).folder
    vector = FisherVector(
        GaussianMixture.from_tensors(*load_model(folder / "mixture")), improved=system.settings.improved
    )
    pca = PCA.from_tensors(*load_model(folder / "pca"))
    model = MultivariateRegression.from_tensors(*load_model(folder / "regression"))
    return lambda maps: model.predict(pca.transform(to_numpy(vector.transform(maps))).astype(np.float64))


def device_name(context: Context) -> str:
    """The device that times were measured on."""
    if context.device.startswith("cuda"):
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads != 1)}"


def busy() -> str:
    """The load of the machine while times were measured."""
    return f"Load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores."


def milliseconds(work: Callable[[int], object], n: int) -> float:
    """Median time of one call in milliseconds, after one call to warm up."""
    work(0)
    seconds = []
    for i in range(n):
        started = time.perf_counter()
        work(i)
        seconds.append(time.perf_counter() - started)
    return round(1000 * float(np.median(seconds)), 2)


EXPERIMENT = Experiment("speed", "Patches and whole slices", "Table 9", run)
