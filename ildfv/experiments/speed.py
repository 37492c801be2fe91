"""Table 9: the patch baseline compared with whole slices, in scores, label maps and time per slice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ildfv.counted import counted
from ildfv.evaluation.tables import Cell, Table
from ildfv.experiments import fitted, label_maps, paper
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.paper import NAME
from ildfv.experiments.recipes import Patches
from ildfv.experiments.tables import MEANS, OURS, SOURCE, measured, printed
from ildfv.inference.sliding_window import label_map
from ildfv.patterns import PATTERNS
from ildfv.scans.prepared_lungs import lungs_of

if TYPE_CHECKING:
    from ildfv.train.networks import Network

TIME = "ms per slice"
PATCHES = "patch baseline"
BATCHED = 200  # maximum number of slices that are timed in batches


def run(context: Context) -> Findings:
    from ildfv.train.networks import load

    patches, layer = context.patches(PATCHES), context.preset.layer
    whole, fisher = context.base, context.encoded(f"CNN to {layer}, Fisher vector, regression", layer)
    scored = measured(context, "Patch baseline and whole slices", [patches, whole, fisher], MEANS)

    fold = context.held_out()[0]
    test = context.split(fold).test
    indices = test[: context.preset.timed_slices]
    images, areas = context.slices.images(indices), context.slices.paper_pixel_area[indices]
    masks = lungs_of(images, areas, patches.lungs)
    window = load(fitted.patch_network(context, patches, fold), context.device)
    network = load(fitted.network(context, whole, fold), context.device)
    regression = fitted.regression(context, fisher, fold)

    def answer(i: int) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(images[i : i + 1]).to(context.device)).cpu().numpy()

    works = {
        patches.label: lambda i: label_map(window, images[i], masks[i], device=context.device),
        f"lung mask of the patch baseline, {patches.lungs}": lambda i: lungs_of(
            images[i : i + 1], areas[i : i + 1], patches.lungs
        ),
        "CNN, whole slice": answer,
        fisher.label: lambda i: regression(images[i : i + 1]),
    }
    timed = {label: seconds(work, len(images)) for label, work in works.items()}
    stops = np.median([label_map(window, *pair, device=context.device)[1] for pair in zip(images, masks, strict=True)])
    note = (
        f"Times of this run are for {len(images)} held-out slices, processed one at a time on {device_name(context)}, "
        "without reading and windowing. The sliding window has a median of "
        f"{stops:.0f} positions per slice; it also needs the lung mask, whose time is not included. {busy()} Times of "
        f"the paper are for a {paper.text('device')}; its time for a whole slice is an upper bound."
    )
    ours = table_9(timed[patches.label], timed["CNN, whole slice"])
    tables = [
        printed(context, paper.table(9), ours, head="time", note=note),
        throughput(context, network, test),
        scored,
        each(context, timed),
        overlapping(context, patches),
    ]
    where = f"NIfTI label maps of all held-out scans are in {label_maps.where(context, patches)}."
    return Findings(
        tables,
        [patches, whole, fisher],
        [(whole, patches), (fisher, patches)],
        [where],
        label_maps.png_files(context, patches),
    )


def table_9(patches: np.ndarray, whole: np.ndarray) -> dict[tuple[str, str], Cell]:
    """The cells of Table 9. patches, whole: seconds of each slice with the patch baseline and with the CNN, (n,)."""
    values = {
        "patches, min": patches.min(),
        "patches, max": patches.max(),
        "patches, mean": patches.mean(),
        "whole slice": whole.mean(),
    }
    return {("seconds", column): float(f"{value:.3g}") for column, value in values.items()}


def throughput(context: Context, network: Network, indices: np.ndarray) -> Table:
    """A table of the minutes for the paper's number of test slices, extrapolated from the held-out slices `indices`."""
    from ildfv.train.trainer import predict

    some = indices[:BATCHED]
    predict(network, context.slices, some[:1], device=context.device)  # the first call is slower and is not timed
    started = time.perf_counter()
    predict(network, context.slices, some, device=context.device)
    pace = (time.perf_counter() - started) / len(some)
    n = paper.text("throughput_slices")
    rows: list[list[Cell]] = [
        ["CNN, whole slice", OURS, context.slices.data, device_name(context), n, float(f"{pace * n / 60:.3g}")],
        ["CNN, whole slice", NAME, "LTRC slices", paper.text("device"), n, paper.text("throughput_minutes")],
    ]
    note = (
        f"The time of this run is extrapolated from {counted(len(some), 'slice')} that were read from the workspace "
        "and classified in batches. The time of the paper is an upper bound."
    )
    return Table("Throughput", ["system", "source", "data", "device", "slices", "minutes"], rows, note)


def each(context: Context, timed: Mapping[str, np.ndarray]) -> Table:
    """A table of the median, minimum and maximum time of each step, in milliseconds per slice.

    timed: by name of the step, the seconds of each slice, (n,).
    """
    rows: list[list[Cell]] = [
        [label, OURS, context.slices.data, *(round(1000 * float(f(found)), 2) for f in (np.median, np.min, np.max))]
        for label, found in timed.items()
    ]
    return Table("Milliseconds per slice", [*SOURCE, "median", "min", "max"], rows)


def overlapping(context: Context, patches: Patches) -> Table:
    """A table of the overlap of the patch baseline's label maps with the reference label maps."""
    note = (
        "Dice: twice the number of pixels that have the pattern in both the predicted and the reference label map, "
        "divided by the sum of the numbers of pixels in each, over all held-out slices."
    )
    row: list = [patches.label, OURS, context.slices.data, *label_maps.overlap(context, patches)]
    columns = [*SOURCE, *(f"Dice {pattern}" for pattern in PATTERNS)]
    return Table("Label maps of the patch baseline", columns, [row], note)


def device_name(context: Context) -> str:
    """The name of the device on which times are measured."""
    if context.device.startswith("cuda"):
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {counted(threads, 'thread')}"


def busy() -> str:
    """A sentence on the load of the computer during the measurement."""
    cores = os.cpu_count() or 1
    return f"The load average was {os.getloadavg()[0]:.0f} on {counted(cores, 'core')}."


def seconds(work: Callable[[int], object], n: int) -> np.ndarray:
    """The duration of each of the calls work(0) … work(n − 1) in seconds, (n,). One call before them is not timed."""
    work(0)
    found = []
    for i in range(n):
        started = time.perf_counter()
        work(i)
        found.append(time.perf_counter() - started)
    return np.array(found)


EXPERIMENT = Experiment("speed", "Patches and whole slices", "Table 9", run)
