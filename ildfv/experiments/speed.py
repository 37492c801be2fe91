"""Table 9: a sliding window of patches beside the whole slice at once: scores, label maps and time per slice."""

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
from ildfv.experiments import maps
from ildfv.experiments.context import Lab
from ildfv.experiments.encode import encode
from ildfv.experiments.lungs import lungs_of
from ildfv.experiments.registry import Experiment, Findings
from ildfv.experiments.systems import Encoded, Patches
from ildfv.experiments.tables import MEANS, SOURCE, beside, measured, told
from ildfv.patterns import PATTERNS
from ildfv.store.models import load_model

TIME = "ms a slice"
PATCHES = "patch baseline"


def run(lab: Lab) -> Findings:
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load
    from ildfv.train.patches import label_map

    patches, layer = lab.patches(PATCHES), lab.preset.layer
    whole = lab.cnn("CNN, whole slice", keep=True)
    fisher = lab.encoded(f"CNN to {layer}, Fisher vector, regression", layer)
    scored = measured(lab, "speed", "Patch baseline and whole slices", [patches, whole, fisher], MEANS)

    fold = lab.held_out()[0]
    indices = lab.roles(fold).test[: lab.preset.timed_slices]
    images, areas = lab.slices.images(indices), lab.slices.pixel_area[indices]
    masks = lungs_of(images, areas, patches.lungs)
    window = load(lab.patch_network(patches, fold), lab.device)
    network = load(lab.network(whole, fold), lab.device)
    activations = Activations(load(lab.network(fisher.network, fold), lab.device), layer)
    regression = _regression(lab, fisher, fold)

    def answer(i: int) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(images[i : i + 1]).to(lab.device)).cpu().numpy()

    timed = {
        patches.label: milliseconds(lambda i: label_map(window, images[i], masks[i], device=lab.device), len(images)),
        f"lung mask for it, {patches.lungs}": milliseconds(
            lambda i: lungs_of(images[i : i + 1], areas[i : i + 1], patches.lungs), len(images)
        ),
        whole.label: milliseconds(answer, len(images)),
        fisher.label: milliseconds(lambda i: regression(activations(images[i : i + 1])), len(images)),
    }
    stops = np.median([label_map(window, *one, device=lab.device)[1] for one in zip(images, masks, strict=True)])
    device = device_name(lab)
    rows = [
        [*row[:3], device if row[1] == "this run" else lab.paper.said("speed", label, "device"), *row[3:]]
        for label, value in timed.items()
        for row in beside(lab, "speed", label, [TIME], [value])
    ]
    note = (
        f"Median over {len(images)} held-out slices, one at a time, read and windowed before; the window stops at "
        f"{stops:.0f} places of a slice (median) and needs the lung mask as well."
    )
    notes = (note, busy(), told(lab, "speed", rows), counted(lab))
    times = Table("Table 9. Time per slice", [*SOURCE, "device", TIME], rows, " ".join(filter(None, notes)))
    found = [scored, times, overlapping(lab, patches)]
    where = f"Label maps of all held-out scans, as NIfTI: {maps.where(lab, patches)}"
    return Findings(
        found, [patches, whole, fisher], [(whole, patches), (fisher, patches)], [where], maps.png_files(lab, patches)
    )


def counted(lab: Lab) -> str:
    """Where the paper's number of slices stands, if not in its text."""
    known = lab.paper.values["known"]
    return f"Its number of slices, {known['slices']}, is from {known['slices_from']}." if "slices_from" in known else ""


def overlapping(lab: Lab, patches: Patches) -> Table:
    """How far the window's label maps agree with those that were drawn."""
    note = (
        "Dice: twice the pixels of a pattern both called and drawn, by those called plus those drawn, over all pixels "
        "of the held-out slices."
    )
    row: list = [patches.label, "this run", lab.slices.data, *maps.overlap(lab, patches)]
    columns = [*SOURCE, *(f"Dice {pattern}" for pattern in PATTERNS)]
    return Table("Label maps of the patch baseline", columns, [row], note)


def _regression(lab: Lab, system: Encoded, fold: int) -> Callable:
    """Maps → answers, by the system's fitted parts."""
    folder = encode(lab, system, fold).folder
    vector = FisherVector(
        GaussianMixture.from_tensors(*load_model(folder / "mixture")), improved=system.settings.improved
    )
    pca = PCA.from_tensors(*load_model(folder / "pca"))
    model = MultivariateRegression.from_tensors(*load_model(folder / "regression"))
    return lambda maps: model.predict(pca.transform(to_numpy(vector.transform(maps))).astype(np.float64))


def device_name(lab: Lab) -> str:
    """What times were taken on."""
    if lab.device.startswith("cuda"):
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads != 1)}"


def busy() -> str:
    """What else the machine did meanwhile: times are worth what it leaves."""
    return f"Load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores."


def milliseconds(work: Callable[[int], object], n: int) -> float:
    """Median time of one call; the first, which warms up, does not count."""
    work(0)
    seconds = []
    for i in range(n):
        started = time.perf_counter()
        work(i)
        seconds.append(time.perf_counter() - started)
    return round(1000 * float(np.median(seconds)), 2)


EXPERIMENT = Experiment("speed", "Patches and whole slices", "Table 9", run)
