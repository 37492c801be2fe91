"""Protocols that divide images into training and test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ildfv.counted import counted
from ildfv.errors import check
from ildfv.texture.collection import Collection, grouped

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Protocol:
    """A protocol. Exactly one of train_per_class (with repeats), leave_one_group_out and folds must be given."""

    train_per_class: int | None = None
    repeats: int = 10
    leave_one_group_out: bool = False
    folds: int | None = None
    seed: int = 0

    def __post_init__(self):
        chosen = [self.train_per_class is not None, self.leave_one_group_out, self.folds is not None]
        check(
            sum(chosen) == 1,
            f"exactly one of --train-per-class, --leave-one-group-out and --folds must be given, got {sum(chosen)}",
        )

    def describe(self) -> str:
        """The protocol in words."""
        if self.train_per_class is not None:
            images = f"{counted(self.train_per_class, 'training image')} per class"
            return f"{images}, {counted(self.repeats, 'random repeat')}"
        return "leave one group out" if self.leave_one_group_out else f"{self.folds} folds"

    def check_set(self, collection: Collection) -> None:
        """Raises InputError if a number is invalid, groups are missing, or a class has too few images for the protocol.

        `splits` also checks the classes of each group.
        """
        if self.train_per_class is not None:
            check(self.train_per_class >= 1, f"--train-per-class must be at least 1, got {self.train_per_class}")
            collection.check_classes(self.train_per_class + 1)
        elif self.leave_one_group_out:
            grouped(collection)
            collection.check_classes(2)
        else:
            check((self.folds or 0) >= 2, f"--folds must be at least 2, got {self.folds}")
            collection.check_classes(self.folds or 0)

    def splits(self, collection: Collection) -> list[Split]:
        """(training indices, test indices) of each split; InputError if the set is too small for the protocol."""
        self.check_set(collection)
        if self.train_per_class is not None:
            return self._random(collection, self.train_per_class)
        return self._groups(collection) if self.leave_one_group_out else self._folds(collection)

    def _random(self, collection: Collection, number: int) -> list[Split]:
        labels, rng, found = np.asarray(collection.labels), np.random.default_rng(self.seed), []
        for _ in range(self.repeats):
            orders = [rng.permutation(np.flatnonzero(labels == name)) for name in collection.classes]
            train = np.sort(np.concatenate([order[:number] for order in orders]))
            found.append((train, np.sort(np.concatenate([order[number:] for order in orders]))))
        return found

    def _groups(self, collection: Collection) -> list[Split]:
        labels, groups = np.asarray(collection.labels), grouped(collection)
        names = sorted(set(groups))
        check(len(names) > 1, f"--leave-one-group-out needs at least 2 groups, got only {names[0]}")
        found = []
        for name in [name for name in names if name not in collection.training_only]:
            train, test = np.flatnonzero(groups != name), np.flatnonzero(groups == name)
            missing = set(labels[test]) - set(labels[train])
            check(not missing, f"class {min(missing or {''})} must be in at least 2 groups, got only group {name}")
            found.append((train, test))
        return found

    def _folds(self, collection: Collection) -> list[Split]:
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # slow import, after the checks

        number = self.folds or 0
        labels = np.asarray(collection.labels)
        if collection.groups is None:
            return list(StratifiedKFold(number, shuffle=True, random_state=self.seed).split(labels, labels))
        groups = np.asarray(collection.groups)
        n_groups = len(set(groups))
        check(n_groups >= number, f"--folds must be at most {n_groups}, the number of groups, got {number}")
        splitter = StratifiedGroupKFold(number, shuffle=True, random_state=self.seed)
        found = list(splitter.split(labels, labels, groups))
        for train, test in found:
            missing = set(labels[test]) - set(labels[train])
            check(
                not missing,
                f"class {min(missing or {''})} must be in every training set, got a split without it: add groups",
            )
        return found
