"""Systems fitted on all labelled patients, for a predictor. Their performance is estimated by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.estimators.ecm import RegressionSums
from ildfv.estimators.regression import MultivariateRegression
from ildfv.pipeline.choices import AUTO, LINEAR
from ildfv.pipeline.descriptors import images_of
from ildfv.pipeline.encode import EncodeSettings, encode
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.heads import fit_on_encodings
from ildfv.pipeline.labels import regression_targets
from ildfv.pipeline.split import Split
from ildfv.pipeline.systems import System, on_fold
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import Progress
from ildfv.store.atomic import key_of

FOLDER = "all-patients"  # name of the folder of an encoding; the folders of folds are named fold-0, fold-1, …


@dataclass(frozen=True)
class Everyone:
    """Fits systems on all labelled slices. split: a split in which every part contains all labelled slices."""

    workspace: Workspace
    slices: Slices
    split: Split

    @classmethod
    def of(cls, workspace: Workspace, slices: Slices, folds: str) -> Everyone:
        """The instance for a workspace. folds: SHA-256 of folds.json. InputError: no slice has labels."""
        every = np.flatnonzero(slices.labelled)
        check(len(every) > 0, "--all-patients needs slices with labels, got none: prepare scans with label maps")
        return cls(workspace, slices, Split(-1, folds, every, every, every, every))

    def encoding(self, held_out: Encoding, activations, progress: Progress) -> Encoding:
        """An encoding with the settings of `held_out` whose mixture and PCA are fitted on all labelled slices."""
        folder = held_out.folder.parent / FOLDER
        names = {field.name for field in fields(EncodeSettings)}
        settings = EncodeSettings(**{k: v for k, v in held_out.inputs.items() if k in names})
        encode(
            folder,
            images_of(held_out, self.slices),
            activations,
            self.split,
            settings,
            inputs={**held_out.inputs, "fold": None, "fit": key_of(self.split.fit.tolist())},
            root=self.workspace.root,
            progress=progress,
        )
        return Encoding(folder)

    def regression(
        self, system: System, encodings: list[Encoding], folds: list[int], progress: Progress
    ) -> tuple[dict[str, np.ndarray], list[float] | None]:
        """(tensors of the regression fitted on all labelled slices, scales of the encodings or None).

        The penalty of a linear regression, divided by the number of fit slices, is the median over the folds. The
        penalties of other heads are chosen by cross-validation over all patients.
        """
        settings, target = self.workspace.settings, system.info["regress"]["target"]
        if system.kind != LINEAR:
            found = fit_on_encodings(
                system.kind,
                encodings,
                self.slices,
                self.split,
                target=target,
                threshold=settings.threshold,
                seed=settings.seed,
                density=system.info["regress"].get("density", AUTO),
                bags=system.info["regress"].get("bags"),
                progress=progress,
            )
            standard = {} if found.standard is None else found.standard.to_tensors()
            return found.head.to_tensors() | standard, list(found.scales)
        (encoding,), indices = encodings, self.split.fit
        y = regression_targets(target, self.slices, indices, settings.threshold)
        sums = RegressionSums(encoding.info["dimensions"], y.shape[1])
        start = 0
        for _, rows in encoding.parts():
            here = slice(*np.searchsorted(indices, [start, start + len(rows)]))
            sums.update(rows[indices[here] - start], y[here])
            start += len(rows)
        model = MultivariateRegression(ridge=self._ridge(system, folds) * len(indices)).fit_sums(sums)
        return model.to_tensors(), None

    def _ridge(self, system: System, folds: list[int]) -> float:
        """The median over the folds of the penalty divided by the number of fit slices."""
        found = []
        for fold in folds:
            one = on_fold(self.workspace, system, fold)
            found.append(one.info["regress"]["ridge"] / one.encodings[0].info["fit_slices"])
        return float(np.median(found))
