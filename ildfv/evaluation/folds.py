"""Patient-level cross-validation folds, stratified by pattern. No patient is in both training and test data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ildfv.errors import InputError, check, check_version
from ildfv.evaluation.inner_split import split_off
from ildfv.evaluation.profiles import Profile, quantities, weights
from ildfv.parsing import MAX_JSON_BYTES, parse_json, read_bytes
from ildfv.patterns import Threshold, parse_threshold

FRACTION = 0.2  # fraction of the training patients that is used for validation
VERSION = 2  # version of folds.json; increment it also if the method of the inner split changes


@dataclass(frozen=True)
class Folds:
    """A partition of the labelled patients into folds, see `make_folds`.

    Patients are named by the salted hashes of `Slices.patients`.

    members: the patients of each fold, sorted. profiles: by patient, in an order that depends on the patients' slices
    and not on their names; the inner splits use this order and therefore do not depend on the salt of the names.
    labels: names of the patterns. threshold: smallest extent of a present pattern (`patterns.presence`). unlabelled:
    patients without a label map, which are in no fold and are not used. sha256: checksum of the file that the folds
    were read from, or "" if they were not read from a file; results and fitted components store it.
    """

    members: tuple[tuple[str, ...], ...]
    profiles: Mapping[str, Profile]
    labels: tuple[str, ...]
    threshold: Threshold
    unlabelled: tuple[str, ...] = ()
    seed: int = 0
    sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check(len(self.members) >= 2, f"there must be at least 2 folds, got {len(self.members)}")
        for k, members in enumerate(self.members):
            check(len(members) > 0, f"fold {k} must have at least one patient, got none")
        check_no_leak({**{f"fold {k}": m for k, m in enumerate(self.members)}, "unlabelled": self.unlabelled})
        missing = [patient for patient in self.fold_of if patient not in self.profiles]
        check(not missing, f"every patient in a fold must have a profile, got none for {_some(missing)}")

    @property
    def n_folds(self) -> int:
        return len(self.members)

    @property
    def fold_of(self) -> dict[str, int]:
        """Fold number of each patient."""
        return {patient: k for k, members in enumerate(self.members) for patient in members}

    def test(self, k: int, patients: Sequence[str] | np.ndarray) -> np.ndarray:
        """Ascending indices of the slices whose patient is in fold k. patients: the patient of each slice, (N,)."""
        return self._indices(set(self.members[self._fold(k)]), patients)

    def train(self, k: int, patients: Sequence[str] | np.ndarray) -> np.ndarray:
        """Ascending indices of the slices whose patient is in any fold other than k. patients: as in `test`."""
        return self._indices(set(self._others(k)), patients)

    def inner(
        self, k: int, patients: Sequence[str] | np.ndarray, fraction: float = FRACTION
    ) -> tuple[np.ndarray, np.ndarray]:
        """(fit indices, validation indices): the training slices of fold k, split again by patient.

        fraction: fraction of the training patients to use for validation. More are used if a pattern of at least two
        training patients would otherwise be absent from one of the two parts (`inner_split.split_off`). The split is
        stratified like the folds. It depends on the training patients only, so the test fold has no influence.
        """
        fit, validation = self.inner_patients(k, fraction)
        check_no_leak({"fit": fit, "validation": validation, f"test fold {k}": self.members[k]})
        return self._indices(set(fit), patients), self._indices(set(validation), patients)

    def inner_patients(self, k: int, fraction: float = FRACTION) -> tuple[list[str], list[str]]:
        """(fit patients, validation patients) of fold k, see `inner`.

        InputError: there are fewer than two training patients, fold k does not exist, or `fraction` is not between 0
        and 1.
        """
        check(0 < fraction < 1, f"fraction must be between 0 and 1, got {fraction}")
        others = self._others(k)
        check(len(others) >= 2, f"an inner split needs at least 2 training patients, got {len(others)}")
        profiles = [self.profiles[p] for p in others]
        chosen = split_off(
            quantities(profiles),
            np.array([p.patterns for p in profiles]).reshape(len(others), len(self.labels)) > 0,
            round(fraction * len(others)),
            weights=weights(len(self.labels)),
            seed=[self.seed, k],
        )
        sides = list(zip(others, chosen, strict=True))
        return [p for p, held in sides if not held], [p for p, held in sides if held]

    def table(self) -> list[dict]:
        """One dict per fold.

        fold: number of the fold. patients, slices: its numbers of patients and labelled slices. slices_with,
        patients_with: by pattern, the numbers of slices and patients that show it. validation: number of validation
        patients if this fold is held out.
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
                    "validation": len(self.inner_patients(k)[1]),
                }
            )
        return rows

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
        """The folds in the text of a folds.json.

        InputError: the text is invalid or of another version, its patterns differ from `labels`, a fold is empty, or a
        patient is in two folds or has no profile.
        """
        try:
            document = parse_json(text, "folds.json", object_pairs_hook=_without_duplicates)
            check(
                document["kind"] == "ildfv folds", f"folds.json must be of kind 'ildfv folds', got {document['kind']!r}"
            )
            older = ", which selects other validation patients: run `ildfv folds --fresh` and train again"
            check_version(document.get("version"), VERSION, "folds.json", older)
            found = document["patterns"]
            check(found == list(labels), f"folds.json must have the patterns {list(labels)}, got {found}")
            return cls(
                members=tuple(tuple(members) for members in document["folds"]),
                profiles={
                    p: Profile(int(v["slices"]), tuple(int(c) for c in v["patterns"]))
                    for p, v in document["profiles"].items()
                },
                labels=tuple(labels),
                unlabelled=tuple(document["unlabelled"]),
                seed=int(document["settings"]["seed"]),
                threshold=parse_threshold(document["settings"]["threshold"]),
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
        return cls.from_json(read_bytes(Path(path), MAX_JSON_BYTES), labels)

    def _fold(self, k: int) -> int:
        check(0 <= k < self.n_folds, f"fold must be 0 to {self.n_folds - 1}, got {k}")
        return k

    def _others(self, k: int) -> list[str]:
        """The training patients of fold k, in the order of the profiles, which does not depend on the slice order."""
        held_out, used = set(self.members[self._fold(k)]), self.fold_of
        return [p for p in self.profiles if p in used and p not in held_out]

    def _indices(self, chosen: set[str], patients: Sequence[str] | np.ndarray) -> np.ndarray:
        names, number = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
        unknown = sorted(set(names.tolist()) - set(self.fold_of) - set(self.unlabelled))
        check(
            not unknown,
            f"every patient must be in folds.json, which lacks {_some(unknown)}: add them or run `ildfv folds --fresh`",
        )
        return np.flatnonzero(np.isin(names, sorted(chosen))[number])


def check_no_leak(parts: Mapping[str, Iterable[str]]) -> None:
    """Raises InputError if a patient is in two of the named parts, or twice in one part."""
    seen: dict[str, str] = {}
    for part, patients in parts.items():
        for patient in patients:
            check(
                patient not in seen,
                f"a patient must be in one part only, got {patient} in {seen.get(patient)} and {part}",
            )
            seen[patient] = part


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object as a dict. InputError: a key occurs twice (Python would silently keep the last value)."""
    keys = [key for key, _ in pairs]
    duplicates = sorted({key for key in keys if keys.count(key) > 1}) if len(set(keys)) < len(keys) else []
    check(not duplicates, f"folds.json must have each key once, got duplicates of {_some(duplicates)}")
    return dict(pairs)


def _some(names: Sequence[str]) -> str:
    """The first three names and the number of other names, as text."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
