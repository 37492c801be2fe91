"""Patient-level cross-validation folds, stratified by pattern; no patient is in both training and test data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ildfv.errors import InputError, check
from ildfv.evaluation.inner_split import split_off
from ildfv.evaluation.statistics import NO_LABELS
from ildfv.evaluation.stratify import partition
from ildfv.parsing import JSON_MOST, parse_json, read_bytes

# A pattern that is absent from a fold has no F and no AUC there, so the number of patients with a pattern has the
# largest weight.
SLICES_WEIGHT, PATIENTS_WEIGHT = 1, 4
FRACTION = 0.2  # of the training patients are validation patients
VERSION = 2  # of folds.json, which also determines the inner split: increment it if the method of splitting changes


@dataclass(frozen=True)
class Profile:
    """The data of one patient for stratification: numbers of labelled slices, and of slices with each pattern."""

    slices: int
    patterns: tuple[int, ...]


@dataclass(frozen=True)
class Folds:
    """A partition of the labelled patients into folds of equal size and similar content.

    members: the patients of each fold, sorted. labels: names of the patterns. threshold: pixels from which a pattern
    counts as present. profiles: by patient, in an order that depends on the patients' slices and not on their names, so
    that splits made from it do not depend on the salt of the names. unlabelled: patients without a label map; they are
    in no fold and are not used. Patients are the salted hashes of `Slices.patients`. sha256: checksum of the file that
    the folds were read from, which identifies them in everything made with them; "" if they were not read from a file.
    """

    members: tuple[tuple[str, ...], ...]
    profiles: Mapping[str, Profile]
    labels: tuple[str, ...]
    threshold: int
    unlabelled: tuple[str, ...] = ()
    seed: int = 0
    sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check(len(self.members) >= 2, f"there must be at least 2 folds, got {len(self.members)}")
        for k, members in enumerate(self.members):
            check(len(members) > 0, f"fold {k} must have at least one patient, got none")
        check_no_leak({**{f"fold {k}": m for k, m in enumerate(self.members)}, "unlabelled": self.unlabelled})
        missing = [patient for patient in self.fold_of if patient not in self.profiles]
        check(not missing, f"every patient in a fold must have a profile, missing for {_some(missing)}")

    @property
    def n_folds(self) -> int:
        return len(self.members)

    @property
    def fold_of(self) -> dict[str, int]:
        """Fold number of each patient."""
        return {patient: k for k, members in enumerate(self.members) for patient in members}

    def test(self, k: int, patients: Sequence[str] | np.ndarray) -> np.ndarray:
        """Ascending indices of the slices whose patient is in fold k; patients (N,): the patient of each slice."""
        return self._indices(set(self.members[self._fold(k)]), patients)

    def train(self, k: int, patients: Sequence[str] | np.ndarray) -> np.ndarray:
        """Ascending indices of the slices whose patient is in any fold other than k."""
        return self._indices(set(self._others(k)), patients)

    def inner(
        self, k: int, patients: Sequence[str] | np.ndarray, fraction: float = FRACTION
    ) -> tuple[np.ndarray, np.ndarray]:
        """(fit indices, validation indices): the training slices of fold k split again by patient.

        fraction: share of the training patients used for validation, or more if otherwise a pattern of at least two
        training patients would be absent from the fit or the validation part (`inner_split.split_off`). Stratified like
        the folds, using the training patients only, so that the test fold has no influence.
        """
        fit, validation = self._inner(k, fraction)
        check_no_leak({"fit": fit, "validation": validation, f"test fold {k}": self.members[k]})
        return self._indices(set(fit), patients), self._indices(set(validation), patients)

    def _inner(self, k: int, fraction: float = FRACTION) -> tuple[list[str], list[str]]:
        """The fit and the validation patients of fold k."""
        check(0 < fraction < 1, f"fraction must be between 0 and 1, got {fraction}")
        others = self._others(k)
        check(len(others) >= 2, f"an inner split needs at least 2 training patients, got {len(others)}")
        profiles = [self.profiles[p] for p in others]
        chosen = split_off(
            _table(profiles),
            np.array([p.patterns for p in profiles]).reshape(len(others), len(self.labels)) > 0,
            round(fraction * len(others)),
            weights=_weights(len(self.labels)),
            seed=[self.seed, k],
        )
        sides = list(zip(others, chosen, strict=True))
        return [p for p, held in sides if not held], [p for p, held in sides if held]

    def table(self) -> list[dict]:
        """One row per fold.

        fold, patients, slices; slices_with and patients_with: their numbers with each pattern; validation: number of
        patients in the validation part if this fold is held out.
        """
        rows = []
        for k, members in enumerate(self.members):
            counts = np.array([self.profiles[p].patterns for p in members])  # (patients, C)
            rows.append(
                {
                    "fold": k,
                    "patients": len(members),
                    "slices": sum(self.profiles[p].slices for p in members),
                    "slices_with": dict(zip(self.labels, counts.sum(0).tolist(), strict=True)),
                    "patients_with": dict(zip(self.labels, (counts > 0).sum(0).tolist(), strict=True)),
                    "validation": len(self._inner(k)[1]),
                }
            )
        return rows

    def warnings(self) -> list[str]:
        """A line for each pattern that is absent from a fold, or from the fit or validation part of one.

        In a test fold without a pattern its recall, F and AUC are undefined; without it in the validation part it has
        no decision threshold, and without it in the fit part it cannot be learned. Patterns that no slice shows
        are listed in one line.
        """
        inner = [self._inner(k) for k in range(self.n_folds)]
        return [*self._absent(), *self._absent_inside(inner), *self._large_validation(inner)]

    def _absent(self) -> list[str]:
        lines, never, rows = [], [], self.table()
        for pattern in self.labels:
            empty = [str(row["fold"]) for row in rows if row["patients_with"][pattern] == 0]
            if len(empty) == self.n_folds:
                never.append(pattern)
            elif empty:
                lines.append(f"no slice of fold {', '.join(empty)} shows {pattern}: too few patients have it")
        if never:
            lines.append(f"no slice shows {', '.join(never)} (T = {self.threshold} pixels): their scores are undefined")
        return lines

    def _absent_inside(self, inner: list[tuple[list[str], list[str]]]) -> list[str]:
        def has(patients: list[str], number: int) -> bool:
            return any(self.profiles[p].patterns[number] for p in patients)

        lines = []
        for number, pattern in enumerate(self.labels):
            for side, name in enumerate(("fit", "validation")):
                without = [
                    str(k)
                    for k, parts in enumerate(inner)
                    if not has(parts[side], number) and has(parts[1 - side], number)
                ]
                if without:
                    lines.append(
                        f"no {name} slice shows {pattern} if fold {', '.join(without)} is held out: too few of the "
                        "training patients have it"
                    )
        return lines

    def _large_validation(self, inner: list[tuple[list[str], list[str]]]) -> list[str]:
        return [
            f"if fold {k} is held out, {len(validation)} of its {len(fit) + len(validation)} training patients are "
            f"used for validation, more than {FRACTION:.0%}, so that as many patterns as possible have a decision "
            "threshold"
            for k, (fit, validation) in enumerate(inner)
            if len(validation) > max(round(FRACTION * (len(fit) + len(validation))), 1)
        ]

    def to_json(self) -> str:
        """The folds as the text of folds.json, which may be edited by hand."""
        document = {
            "kind": "ildfv folds",
            "version": VERSION,
            "settings": {"n_folds": self.n_folds, "seed": self.seed, "threshold": self.threshold},
            "patterns": list(self.labels),
            "folds": [list(members) for members in self.members],
            "unlabelled": list(self.unlabelled),
            "profiles": {p: {"slices": v.slices, "patterns": list(v.patterns)} for p, v in self.profiles.items()},
        }
        return json.dumps(document, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, labels: Sequence[str]) -> Folds:
        """The folds in the text of a folds.json. InputError: invalid, for other labels, or a patient in two folds."""
        try:
            document = parse_json(text, "folds.json", object_pairs_hook=_without_duplicates)
            check(
                document["kind"] == "ildfv folds", f"folds.json must be of kind 'ildfv folds', got {document['kind']!r}"
            )
            version = document.get("version")
            check(
                version == VERSION,
                f"folds.json must be of version {VERSION}, got {version}, which selects other validation "
                "patients: run `ildfv folds --fresh` and train again",
            )
            found = document["patterns"]
            check(found == list(labels), f"folds.json must be for the patterns {list(labels)}, got {found}")
            return cls(
                members=tuple(tuple(members) for members in document["folds"]),
                profiles={
                    p: Profile(int(v["slices"]), tuple(int(c) for c in v["patterns"]))
                    for p, v in document["profiles"].items()
                },
                labels=tuple(labels),
                unlabelled=tuple(document["unlabelled"]),
                seed=int(document["settings"]["seed"]),
                threshold=int(document["settings"]["threshold"]),
                sha256=hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest(),
            )
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"folds.json must have the structure that `ildfv folds` writes, got {type(error).__name__}: {error}"
            ) from error

    @classmethod
    def load(cls, path: str | Path, labels: Sequence[str]) -> Folds:
        """The folds in a folds.json; raises as `from_json` does."""
        return cls.from_json(read_bytes(Path(path), JSON_MOST), labels)

    def _fold(self, k: int) -> int:
        check(0 <= k < self.n_folds, f"fold must be 0 to {self.n_folds - 1}, got {k}")
        return k

    def _others(self, k: int) -> list[str]:
        """Training patients of fold k in the order of the profiles, so that the order of slices does not matter."""
        held_out, used = set(self.members[self._fold(k)]), self.fold_of
        return [p for p in self.profiles if p in used and p not in held_out]

    def _indices(self, chosen: set[str], patients: Sequence[str] | np.ndarray) -> np.ndarray:
        names, number = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
        unknown = sorted(set(names.tolist()) - set(self.fold_of) - set(self.unlabelled))
        check(
            not unknown,
            f"every patient must be in folds.json, missing {_some(unknown)}: add them, or run `ildfv folds --fresh`",
        )
        return np.flatnonzero(np.isin(names, sorted(chosen))[number])


def make_folds(
    patients: Sequence[str] | np.ndarray,
    presence: np.ndarray,
    *,
    labels: Sequence[str],
    threshold: int,
    n_folds: int = 5,
    seed: int = 0,
    series: Sequence[str] | np.ndarray | None = None,
    content: np.ndarray | None = None,
) -> Folds:
    """Stratified patient-level folds; neither the order of slices nor, with `content`, the names of patients matter.

    Parameters
    ----------
    patients : sequence of str, shape (N,)
        Patient of each slice.
    presence : array of int, shape (N, C)
        1 if the slice shows the pattern, 0 if not, −1 if that is unknown.
    labels : sequence of str, length C
        Names of the patterns.
    threshold : int
        Pixels from which a pattern counts as present, stored with the folds.
    n_folds : int
        Number of folds.
    seed : int
        Equal seeds give equal folds.
    series : sequence of str, shape (N,), optional
        Scan of each slice, to check that no scan belongs to two patients.
    content : array, shape (N, M), optional
        Numbers that describe each slice, such as its position and pixel counts. They order patients with equal numbers
        of slices and patterns, so that a seed gives the same folds for any salt of the patients' names. Without
        them, these patients are ordered by name.

    Returns
    -------
    Folds

    Raises
    ------
    InputError
        No label map, fewer labelled patients than folds, fewer than two folds, fewer than two training patients for a
        fold, or a scan that belongs to two patients.
    """
    presence = np.asarray(presence)  # (N, C)
    expected = (len(patients), len(labels))
    check(presence.shape == expected, f"presence must have shape {expected}, got {presence.shape}")
    check(bool(np.isin(presence, (-1, 0, 1)).all()), "presence must be 1, 0 or, without labels, −1")
    check(n_folds >= 2, f"n_folds must be at least 2, got {n_folds}")
    if series is not None:
        check_one_patient_per_scan(patients, series)

    names, number = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    labelled = np.any(presence >= 0, axis=1)  # (N,)
    slices = np.bincount(number, weights=labelled, minlength=len(names)).astype(int)  # (P,)
    shown = np.zeros((len(names), len(labels)), dtype=int)  # (P, C)
    np.add.at(shown, number, (presence == 1) & labelled[:, None])
    found = {str(p): Profile(int(n), tuple(s.tolist())) for p, n, s in zip(names, slices, shown, strict=True) if n > 0}
    inside = _digests(names, number, content)
    order = sorted(found, key=lambda p: (-found[p].slices, found[p].patterns, inside[p], p))
    profiles = {p: found[p] for p in order}
    _check_number(n_folds, len(profiles))

    sizes = [len(profiles) // n_folds + (k < len(profiles) % n_folds) for k in range(n_folds)]
    part = partition(_table(profiles.values()), sizes, weights=_weights(len(labels)), seed=seed)
    return Folds(
        members=tuple(tuple(sorted(p for p, f in zip(profiles, part, strict=True) if f == k)) for k in range(n_folds)),
        profiles=profiles,
        labels=tuple(labels),
        unlabelled=tuple(str(p) for p, n in zip(names, slices, strict=True) if n == 0),
        seed=seed,
        threshold=threshold,
    )


def _digests(names: np.ndarray, number: np.ndarray, content: np.ndarray | None) -> dict[str, str]:
    """A hash of each patient's content that does not depend on the order of its slices; "" for all without content."""
    if content is None:
        return {str(p): "" for p in names}
    content = np.asarray(content, dtype=np.float64)
    check(
        content.ndim == 2 and len(content) == len(number),
        f"content must have shape ({len(number)}, M), got {content.shape}",
    )
    rows = content[np.lexsort((*content.T[::-1], number))]  # by patient, then by content
    parts = np.split(rows, np.cumsum(np.bincount(number, minlength=len(names)))[:-1])
    return {str(p): hashlib.sha256(part.tobytes()).hexdigest() for p, part in zip(names, parts, strict=True)}


def check_no_leak(parts: Mapping[str, Iterable[str]]) -> None:
    """Raises InputError, naming patient and parts, if a patient is in two of the named parts or twice in one."""
    seen: dict[str, str] = {}
    for part, patients in parts.items():
        for patient in patients:
            check(
                patient not in seen,
                f"a patient must be in one part only, got {patient} in {seen.get(patient)} and {part}",
            )
            seen[patient] = part


def check_one_patient_per_scan(patients: Sequence[str] | np.ndarray, series: Sequence[str] | np.ndarray) -> None:
    """Raises InputError if a scan belongs to two patients, because it could be in training and test data."""
    owner: dict[str, str] = {}
    for scan, patient in sorted(set(zip(map(str, series), map(str, patients), strict=True))):
        check(scan not in owner, f"a scan must belong to one patient, got {scan} under {owner.get(scan)} and {patient}")
        owner[scan] = patient


def _check_number(n_folds: int, n_patients: int) -> None:
    """Raises InputError, with a number of folds that works, if a fold would leave fewer than two training patients."""
    check(n_patients > 0, NO_LABELS)
    check(
        n_patients >= 3,
        f"there must be at least 3 patients with a label map, for fitting, validation and test, got {n_patients}",
        faq="few-patients",
    )
    check(
        n_folds <= n_patients,
        f"--folds must be at most the number of patients with a label map, {n_patients}, got {n_folds}: "
        f"use --folds {n_patients}",
        faq="few-patients",
    )
    largest = -(-n_patients // n_folds)
    check(
        n_patients - largest >= 2,
        f"--folds must leave at least 2 of the {n_patients} patients with a label map for training, got {n_folds}: "
        f"use --folds {n_patients}",
        faq="few-patients",
    )


def _table(profiles: Iterable[Profile]) -> np.ndarray:
    """The quantities to balance, (P, 1 + 2·C): slices, slices with each pattern, and whether each is present."""
    profiles = list(profiles)
    slices = np.array([[p.slices] for p in profiles], dtype=float)
    shown = np.array([p.patterns for p in profiles], dtype=float)
    return np.hstack([slices, shown, shown > 0])


def _weights(n_labels: int) -> tuple[int, ...]:
    """Weight of each column of `_table`, (1 + 2·C,)."""
    return (SLICES_WEIGHT,) * (1 + n_labels) + (PATIENTS_WEIGHT,) * n_labels


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object as a dict. InputError: a duplicate key, of which Python would silently keep the last."""
    keys = [key for key, _ in pairs]
    duplicates = sorted({key for key in keys if keys.count(key) > 1}) if len(set(keys)) < len(keys) else []
    check(not duplicates, f"folds.json must have each key once, got duplicates of {_some(duplicates)}")
    return dict(pairs)


def _some(names: Sequence[str]) -> str:
    """The first three names and the number of others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
