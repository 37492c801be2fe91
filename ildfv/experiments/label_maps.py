"""Label maps of the patch baseline: NIfTI files of the held-out scans, their overlap with the reference, examples.

The folder experiments/<key>/label-maps/<system>/fold-<k>/ of the workspace contains, for each held-out scan,
    <patient>-<scan>-called.nii.gz   the predicted label map: 0 no pattern or not lung, 1 to 4 the pattern
    <patient>-<scan>-truth.nii.gz    the reference label map, with the same codes
    <patient>-<scan>-slices.nii.gz   the slices in HU, clipped to the normal window
on the grid of the prepared slices, see `inference.nifti`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.evaluation.intervals import confidence, resampled
from ildfv.evaluation.measures import Ratio, by_patient
from ildfv.evaluation.metrics import ratio
from ildfv.evaluation.tables import Estimate
from ildfv.experiments.context import Context
from ildfv.experiments.fitted import patch_network
from ildfv.experiments.recipes import Patches
from ildfv.inference.nifti import hounsfield, read_volume, slice_affine, write_volume
from ildfv.inference.sliding_window import label_map
from ildfv.patterns import PATTERNS, presence
from ildfv.report.content import LabelMap
from ildfv.report.figures import number
from ildfv.report.pictures import label_map_png
from ildfv.scans.prepared_lungs import lungs
from ildfv.scans.windows import NORMAL
from ildfv.store.atomic import check_gzip, sweep
from ildfv.store.lock import writing

CODES = {"none, or not lung": 0} | {pattern: k + 1 for k, pattern in enumerate(PATTERNS)}
KINDS = ("slices", "truth", "called")
MARK = "PHANTOM, not clinical"  # description in the NIfTI header, which has space for 79 bytes
RULE = "drawn at random from the first held-out fold: one slice with each pattern, and one without any pattern"


def root(context: Context, system: Patches) -> Path:
    """The folder of the label maps of all folds."""
    return context.folder / "label-maps" / system.folder


def where(context: Context, system: Patches) -> str:
    """The location of the folder `root` as text, for notes."""
    return f"the folder {root(context, system).relative_to(context.workspace.root)} of the workspace"


def folder(context: Context, system: Patches, fold: int) -> Path:
    """The folder of the label maps predicted by the network trained without the fold."""
    return context.place("label-maps", system, fold)


def window_maps(context: Context, system: Patches, fold: int, indices: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the label map of each slice, uint8 (224, 224), predicted by the network trained without the fold."""
    from ildfv.train.networks import load

    network = load(patch_network(context, system, fold), context.device)
    for index in indices:
        image, lung = context.slices.images([index])[0], lungs(context.slices, [index], system.lungs)[0]
        yield label_map(network, image, lung, device=context.device)[0]


def held_out(context: Context, system: Patches, fold: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (rows among the test slices, label maps uint8 (m, 224, 224)) for each scan of the fold's test slices.

    The maps are read from `folder`. Missing or corrupt maps are computed and written there.
    """
    indices, place = context.split(fold).test, folder(context, system, fold)
    with writing(place), context.progress.task("Sliding window", total=len(indices)) as advance:
        sweep(place)
        for rows in _scans(context, indices):
            if not _is_complete(place, context, indices[rows]):
                _write(place, context, indices[rows], np.stack(list(window_maps(context, system, fold, indices[rows]))))
            yield rows, read_volume(_path(place, context, indices[rows], KINDS[-1]))
            advance(len(rows))


def _is_complete(place: Path, context: Context, indices: np.ndarray) -> bool:
    """Whether the scan's three volumes exist and are not corrupt."""
    try:
        for kind in KINDS:
            check_gzip(_path(place, context, indices, kind))
    except InputError:
        return False
    return True


def overlap(context: Context, system: Patches) -> list[Estimate]:
    """Table cells with the Dice coefficient of predicted and reference pixels, per pattern, over all held-out folds."""
    sums, owners, fold_of = [], [], []
    for fold in context.held_out(system):
        indices = context.split(fold).test
        for rows, maps in held_out(context, system, fold):
            truth = context.slices.label_maps(indices[rows])
            codes = range(1, len(PATTERNS) + 1)
            sums.append([[((maps == k) & (truth == k)).sum(), (maps == k).sum(), (truth == k).sum()] for k in codes])
            owners.append(context.slices.patients[indices[rows[0]]])
            fold_of.append(fold)
    both, ours, theirs = np.array(sums, dtype=float).transpose(2, 1, 0)  # (4, scans) each
    names, owner = np.unique(owners, return_inverse=True)
    weights = resampled(len(names), context.preset.resamples, seed=context.workspace.settings.seed)
    cells = []
    for k in range(len(PATTERNS)):
        here, total, drawn = (by_patient(n[k], owner, len(names)) for n in (both, ours + theirs, theirs))
        dice = Ratio(2 * here, total, needed=drawn)
        each = ratio(*(np.bincount(fold_of, n) for n in (2 * both[k], ours[k] + theirs[k])))
        each = each[np.isfinite(each) & (np.bincount(fold_of, theirs[k]) > 0)]
        value = float(dice(np.ones((1, len(names))))[0])
        cells.append(
            Estimate(
                value=value if np.isfinite(value) else None,
                interval=confidence(dice, weights),
                mean=float(each.mean()) if len(each) else None,
                sd=float(each.std(ddof=1)) if len(each) > 1 else None,
                n=len(each),
            )
        )
    return cells


def pictures(context: Context, system: Patches) -> list[LabelMap]:
    """The slices chosen by RULE, with reference and predicted label maps. Patterns that are on no slice are omitted.

    The list is empty if the maps of a scan are missing or corrupt. Users may remove the maps to save disk space. The
    next run of the experiment `speed` then writes them again.
    """
    fold = context.held_out(system)[0]
    indices, found = context.split(fold).test, []
    place = folder(context, system, fold)
    for title, row in _drawn(context, indices, system.threshold):
        of_scan = next(rows for rows in _scans(context, indices) if row in rows)
        if not _is_complete(place, context, indices[of_scan]):
            return []
        maps = read_volume(_path(place, context, indices[of_scan], KINDS[-1]))
        index = indices[row]
        at = f"{number(context.slices.positions[index], 0)} mm"
        found.append(
            LabelMap(
                image=context.slices.images([index])[0, NORMAL],
                truth=context.slices.label_maps([index])[0],
                predicted=maps[np.searchsorted(of_scan, row)],
                caption=f"{title}: patient {context.slices.patients[index][:6]}, {at}",
            )
        )
    return found


def png_files(context: Context, system: Patches) -> dict[str, bytes]:
    """The PNG of each of the `pictures`, by file name, to be stored in the folder of the experiment's document."""
    mark = MARK if context.slices.data == "phantom" else ""
    return {
        f"label-map-{i}.png": label_map_png(picture, mark=mark)
        for i, picture in enumerate(pictures(context, system), start=1)
    }


def _drawn(context: Context, indices: np.ndarray, threshold: int) -> Iterator[tuple[str, int]]:
    """Yields (pattern or "no pattern", row of `indices`) of each selected slice. No slice is selected twice."""
    present = presence(context.slices.counts[indices], threshold) > 0  # (t, 4)
    random, free = np.random.default_rng(context.workspace.settings.seed), np.ones(len(indices), bool)
    for title, shows in [*zip(PATTERNS, present.T, strict=True), ("no pattern", ~present.any(axis=1))]:
        rows = np.flatnonzero(shows & free)
        if len(rows):
            row = int(rows[random.integers(len(rows))])
            free[row] = False
            yield title, row


def _scans(context: Context, indices: np.ndarray) -> list[np.ndarray]:
    """The rows of `indices` of each scan, in order. All slices of a scan are in the same part of the split."""
    series = context.slices.series[indices]
    return [np.flatnonzero(series == name) for name in dict.fromkeys(series.tolist())]


def _path(place: Path, context: Context, indices: np.ndarray, kind: str) -> Path:
    slices = context.slices
    return place / f"{slices.patients[indices[0]][:8]}-{slices.series[indices[0]]}-{kind}.nii.gz"


def _write(place: Path, context: Context, indices: np.ndarray, maps: np.ndarray) -> None:
    """Writes the three volumes of a scan."""
    slices = context.slices
    affine = slice_affine(slices.paper_pixel_area[indices[0]], slices.positions[indices])
    description = MARK if slices.data == "phantom" else ""
    for kind, volume in zip(KINDS, (hounsfield(slices.images(indices)), slices.label_maps(indices), maps), strict=True):
        write_volume(_path(place, context, indices, kind), volume, affine, description)
