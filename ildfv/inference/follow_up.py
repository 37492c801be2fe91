"""Comparison of two scans of a patient: the change of each pattern's area, on slices at equal heights in the lung."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from markupsafe import Markup
from scipy.stats import t

from ildfv.counted import counted
from ildfv.datasets.discovery import discover
from ildfv.datasets.records import Scan
from ildfv.errors import check, printable_page
from ildfv.inference.anonymous import errors_of
from ildfv.inference.chosen_series import choose, identity_of
from ildfv.inference.extent import lung_height
from ildfv.inference.markup import page_environment
from ildfv.inference.outputs import write_prediction
from ildfv.inference.predict import predicted
from ildfv.inference.prediction import HeadAnswer, Prediction
from ildfv.inference.predictor import Predictor
from ildfv.inference.pseudonym import pseudonym
from ildfv.inference.score_lines import lines
from ildfv.progress import SILENT, Progress
from ildfv.scans.archives import unpacked
from ildfv.scans.identifiers import ACQUISITION_TAGS
from ildfv.store.atomic import write_bytes
from ildfv.store.lock import writing

VERSION = 1
DATES = ("SeriesDate", "StudyDate")  # used in this order if there is no date of acquisition
LEVELS = 100  # maximum number of heights in the lung at which two scans are compared
NO_AREAS = (
    "--follow-up needs a predictor with a head that estimates areas, got no such head: export a predictor from "
    "slices with label maps"
)
INTERVAL = (
    "The 95 % interval of the change is computed from the error of the mean estimated area on held-out scans, with a t "
    "quantile for the number of these scans. The errors of the two scans are assumed to be independent; if they are "
    "correlated, the interval is too wide. The interval covers errors of the model on scans like the held-out scans. "
    "It does not cover differences between scanners, kernels and doses, differences in inspiration that remain after "
    "matching the heights, or the variation of a patient within a day."
)


@dataclass(frozen=True)
class FollowUp:
    """The comparison of the results of one head for two scans of a patient, with C patterns.

    before, after: the predictions for the earlier and the later scan. days: number of days between the scans; None if
    unknown.
    """

    before: Prediction
    after: Prediction
    head: str
    levels: np.ndarray  # heights in the lung, (L,)
    areas: np.ndarray  # cm² at the levels, (2, L, C)
    lung: np.ndarray  # cm² of lung at the levels, (2, L)
    days: int | None
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        patterns = {}
        for c, pattern in enumerate(self.before.patterns):
            before, after = self.areas[:, :, c].mean(axis=1)
            shares = self.areas[:, :, c].sum(axis=1) / self.lung.sum(axis=1)
            interval = interval_of(after - before, [self._error(one, c) for one in (self.before, self.after)])
            patterns[pattern] = {
                "before_cm2": _number(before),
                "after_cm2": _number(after),
                "change_cm2": _number(after - before),
                "change_interval_cm2": None if interval is None else [_number(value) for value in interval],
                "before_share_of_lung": _number(shares[0]),
                "after_share_of_lung": _number(shares[1]),
                "profile_before_cm2": [_number(value) for value in self.areas[0, :, c]],
                "profile_after_cm2": [_number(value) for value in self.areas[1, :, c]],
            }
        return {
            "kind": "ildfv follow-up",
            "version": VERSION,
            "use": "research use only",
            "predictor": self.before.predictor,
            "before": _named(self.before),
            "after": _named(self.after),
            "days": self.days,
            "head": self.head,
            "levels": [_number(value) for value in self.levels],
            "lung_before_cm2": [_number(value) for value in self.lung[0]],
            "lung_after_cm2": [_number(value) for value in self.lung[1]],
            "patterns": patterns,
            "interval": INTERVAL,
            "notes": self.notes,
            "methods": self.methods,
        }

    def _error(self, prediction: Prediction, c: int) -> tuple[float, int] | None:
        found = prediction.heads[self.head].mean_error
        return found[c] if found else None

    @property
    def methods(self) -> str:
        """A paragraph for a Methods section."""
        return (
            f"{self.before.methods} For follow-up, slices of both scans were matched by their relative height between "
            f"the lowest and highest slice with lung, at {len(self.levels)} levels; the change is the difference of "
            "the mean estimated area on a slice, with a 95 % interval from the error of that mean on held-out scans."
        )

    def to_page(self) -> str:
        """The comparison as one HTML page without external files."""
        found = self.to_dict()
        pictures = {
            pattern: Markup(lines([row["profile_before_cm2"], row["profile_after_cm2"]], "cm² from base to apex"))
            for pattern, row in found["patterns"].items()
        }
        phantom = found["predictor"]["data"] == "phantom"
        template = page_environment().get_template("follow-up.html")
        return printable_page(template.render(f=found, pictures=pictures, phantom=phantom))


def compare_scans(
    sources: Sequence[Path],
    predictor: Predictor,
    *,
    out: Path | None = None,
    series: str | None = None,
    keep_identity: bool = False,
    progress: Progress = SILENT,
) -> FollowUp:
    """The comparison of two scans of a patient, the earlier scan first.

    out: folder in which the files of the comparison and of both predictions are written; None: no files. series: as for
    `choose`. keep_identity: whether predictions contain the identifiers of the scans, and messages the names of files.
    InputError: `sources` are not two different scans, their headers show that they are of two patients or that the
    first scan is the later scan, a scan cannot be predicted, or the predictor does not estimate areas.
    """
    check(len(sources) == 2, f"--follow-up needs two scans, the earlier scan first, got {len(sources)}")
    grey = predictor.info.preparation.grey
    check(grey is None, "--follow-up needs a predictor trained on scans, got one trained on images without pixel size")
    check(any(head.estimates_areas for head in predictor.info.heads), NO_AREAS)
    with ExitStack() as stack:
        folders = [stack.enter_context(unpacked(source)) for source in sources]
        chosen = []
        for folder, source in zip(folders, sources, strict=True):
            with errors_of(source, folder, keep_identity=keep_identity):
                chosen.append(choose(discover(folder, labels=False, workers=1), series, source))
        scans = [scan for scan, _ in chosen]
        same = f"--follow-up needs two different scans, got the same scan in {sources[0]} and {sources[1]}"
        check(pseudonym(scans[0]) != pseudonym(scans[1]), same)
        days, identity_notes = days_between(*scans), _identity_notes(*scans)  # may raise
        predictions = []
        for (scan, notes), folder, source in zip(chosen, folders, sources, strict=True):
            m = scan.geometry.shape[0]
            progress.note(f"{source}: {counted(m, 'slice')}")
            shown = str(scan.source).replace(str(folder), str(source), 1)
            identity = identity_of(scan, shown) if keep_identity else None
            with errors_of(source, folder, keep_identity=keep_identity):
                maps = out is not None
                predictions.append(predicted(predictor, scan, notes, contributions=maps, identity=identity))
    found = compare(*predictions, days=days, notes=identity_notes)
    if out is not None:
        for prediction in predictions:
            with writing(out / prediction.scan) as folder:
                write_prediction(folder, prediction)
        name = f"follow-up-{found.before.scan}-{found.after.scan}"
        write_bytes(out / f"{name}.html", found.to_page().encode())
        text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        write_bytes(out / f"{name}.json", (text + "\n").encode())
    return found


def compare(before: Prediction, after: Prediction, *, days: int | None = None, notes: Sequence[str] = ()) -> FollowUp:
    """The comparison of two predictions by the first head that estimates areas. The primary head is tried first.

    InputError: no head estimates areas, or a scan has fewer than 2 slices of lung.
    """
    names = [name for name, answer in before.heads.items() if np.isfinite(answer.area).all()]
    check(bool(names), NO_AREAS)
    pair = [_profile(prediction, prediction.heads[names[0]]) for prediction in (before, after)]
    count = min(LEVELS, *(len(height) for height, _, _ in pair))
    levels = (np.arange(count) + 0.5) / count
    areas = np.stack([_at(levels, height, area) for height, area, _ in pair])
    lung = np.stack([_at(levels, height, cm2[:, None])[:, 0] for height, _, cm2 in pair])
    return FollowUp(before, after, names[0], levels, areas, lung, days, list(notes))


def interval_of(change: float, errors: Sequence[tuple[float, int] | None]) -> tuple[float, float] | None:
    """95 % interval of a change in cm²; None if an error is unknown.

    errors: for each of the two scans, (error of the mean area in cm², number of held-out scans), or None if unknown.
    """
    if any(error is None for error in errors):
        return None
    sizes, counts = zip(*(error for error in errors if error is not None), strict=True)
    half = float(t.ppf(0.975, min(counts)) * np.hypot(*sizes))
    return change - half, change + half


def days_between(before: Scan, after: Scan) -> int | None:
    """Number of days between two DICOM scans; None if a scan is not DICOM or a date is unknown.

    InputError: the scans are of two patients, or `before` is the later scan.
    """
    if before.dicom is None or after.dicom is None:
        return None
    check(before.patient == after.patient, "--follow-up needs two scans of one patient, got two patients")
    first, second = _date(before), _date(after)
    if first is None or second is None:
        return None
    check(first <= second, "--follow-up needs the earlier scan first, got the later scan first: swap the two scans")
    return (second - first).days


def _identity_notes(before: Scan, after: Scan) -> list[str]:
    if before.dicom is None or after.dicom is None:
        return ["Volume files do not state the patient or the date. Both scans are assumed to be of the same patient."]
    if _date(before) is None or _date(after) is None:
        return ["A scan does not state its date. The first scan is assumed to be the earlier one."]
    return []


def _date(scan: Scan) -> date | None:
    """The date of acquisition, series or study in the header of the first slice; None if the header has none."""
    assert scan.dicom is not None
    values = scan.dicom.frames[0][1].acquisition
    acquired = values[ACQUISITION_TAGS.index("AcquisitionTime")] if values else ""
    header = pydicom.dcmread(scan.files[0], stop_before_pixels=True, specific_tags=list(DATES), force=True)
    for text in (acquired, *(str(header.get(name) or "") for name in DATES)):
        try:
            return datetime.strptime(text[:8], "%Y%m%d").date()
        except ValueError:
            continue
    return None


def _profile(prediction: Prediction, answer: HeadAnswer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(height (l,), area (l, C), lung area (l,)) of the l slices with lung, by ascending height."""
    height = lung_height(prediction.positions, prediction.lung)
    inside = np.isfinite(height)
    check(inside.sum() >= 2, f"--follow-up needs scans with at least 2 slices of lung, got {int(inside.sum())}")
    order = np.argsort(height[inside], kind="stable")
    return height[inside][order], answer.area[inside][order], prediction.lung[inside][order]


def _at(levels: np.ndarray, height: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values (l, C) at the heights `levels`, by linear interpolation, (L, C)."""
    return np.stack([np.interp(levels, height, column) for column in values.T], axis=1)


def _named(prediction: Prediction) -> dict[str, Any]:
    found: dict[str, Any] = {"scan": prediction.scan, "slices": len(prediction.positions)}
    found["reliability"] = prediction.statements
    return found if prediction.identity is None else {**found, "identity": prediction.identity}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
