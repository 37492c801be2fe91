"""The parts of an exported predictor: heads, encodings, networks and statistics of the training data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.evaluation.folds import Folds
from ildfv.inference.predictor_location import KIND, VERSION
from ildfv.inference.schema import CNN, FISHER, USE, Head, HeadPart, HowPrepared, PredictorInfo
from ildfv.inference.schema import Encoding as EncodingInfo
from ildfv.inference.slice_predictor import SlicePredictor
from ildfv.patterns import PATTERNS
from ildfv.pipeline.choices import LINEAR
from ildfv.pipeline.density_inputs import affine
from ildfv.pipeline.descriptors import UNTRAINED, descriptors
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.everyone import Everyone
from ildfv.pipeline.expected import HeldOut, head_target
from ildfv.pipeline.exported_models import estimators_of, name_of, tensors_of
from ildfv.pipeline.exported_networks import Networks
from ildfv.pipeline.split import Split
from ildfv.pipeline.system_names import CNN_PREFIX
from ildfv.pipeline.systems import System
from ildfv.pipeline.training_statistics import TrainingStatistics
from ildfv.pipeline.units import labelled_patterns, units_of
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import Progress
from ildfv.scans.windows import SIZE, WINDOWS
from ildfv.store.models import load_model, prefixed
from ildfv.version import versions


@dataclass
class Export:
    """The parts of a predictor, which are added one after another.

    everyone: fits the exported models on all patients; None: the models fitted without the held-out fold are exported.
    """

    workspace: Workspace
    slices: Slices
    folds: Folds
    split: Split
    held_out: HeldOut
    networks: Networks
    everyone: Everyone | None
    preparation: HowPrepared
    progress: Progress
    heads: list[Head] = field(default_factory=list)
    encodings: dict[str, EncodingInfo] = field(default_factory=dict)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    fitted: dict[str, Encoding] = field(default_factory=dict)  # the exported encodings, by name
    cross: dict[str, Encoding] = field(default_factory=dict)  # the same, fitted on the fit patients of the fold

    def add(self, system: System) -> None:
        """Adds the head of a system, and its encodings unless they are already added.

        InputError: the system has no current results, or its model is not the one that was scored.
        """
        every = list(range(self.folds.n_folds))
        recorded = system.info["regress"]
        results = self.held_out.of(system.name, system.fold, system.how)
        same = results.settings.get("regress") == recorded
        check(same, f"{system.model} must be the scored model of {system.name}, got another: run `{system.how}`")
        unit = self.workspace.settings.threshold
        target = head_target(recorded["target"], unit, results.threshold, self.slices.grids)
        found = (
            self.held_out.of_fold(results, target)
            if self.everyone is None
            else self.held_out.pooled(system.name, every, target, lambda fold: replace(system, fold=fold).how)
        )
        for encoding in system.encodings:
            self._add_encoding(encoding)
        names = [name_of(encoding) for encoding in system.encodings]
        if self.everyone is None:
            values, scales = load_model(system.model)[0], recorded.get("scales")
        else:
            values, scales = self.everyone.regression(
                system, [self.fitted[name] for name in names], every, self.progress
            )
        coef, inputs = affine(values)
        self.tensors |= prefixed(f"head.{system.name}", coef)
        self.heads.append(
            Head(
                name=system.name,
                kind=FISHER,
                target=target,
                layer=system.layer,
                region=system.region,
                regression=system.kind,
                bags=recorded.get("bags"),
                unlabelled=self._unlabelled,
                parts=[
                    HeadPart(encoding=name, scale=None if system.kind == LINEAR or scales is None else scales[i])
                    for i, name in enumerate(names)
                ],
                **inputs,
                **found,
            )
        )

    def _add_encoding(self, encoding: Encoding) -> None:
        name, layer = name_of(encoding), encoding.layer
        if name in self.encodings:
            return
        network = None
        self.cross[name] = encoding
        if layer not in UNTRAINED:
            network, layer = self.networks.add(encoding, self._fit_slices)
        if self.everyone is not None:
            device = "cpu"
            maps = descriptors(layer, device) if network is None else self.networks.activations(network, layer)
            encoding = self.everyone.encoding(encoding, maps, self.progress)
        self.fitted[name] = encoding
        self.tensors |= tensors_of(name, encoding)
        self.encodings[name] = EncodingInfo(
            layer=layer,
            network=network,
            region=encoding.region,
            lungs=encoding.inputs.get("lungs", "rule"),
            hounsfield=bool(encoding.inputs.get("hounsfield", False)),
            improved=encoding.inputs["improved"],
            estimators=estimators_of(encoding),
        )

    def add_networks(self, cnn: bool | None) -> None:
        """Adds the outputs of the trained networks as heads. With cnn=None, only scored networks are added."""
        if cnn is False:
            return
        for name in self.networks.trained(self.split.fold, wanted=bool(cnn)):
            if cnn or self.split.fold in self.held_out.folds(f"{CNN_PREFIX}{name}"):
                self.add_network(name)

    def add_network(self, name: str) -> None:
        """Adds the outputs of the trained network of this name as a head."""
        fold, system = self.split.fold, f"{CNN_PREFIX}{name}"
        results = self.held_out.of(system, fold, f"ildfv train --fold {fold} --name {name}")
        self.networks.add_trained(fold, name)
        self.networks.keep_whole(name)
        trained_for = results.settings["train"]
        target = head_target(trained_for["target"], trained_for["threshold"], results.threshold, self.slices.grids)
        found = self.held_out.of_fold(results, target)
        self.heads.append(
            Head(name=system, kind=CNN, target=target, network=name, unlabelled=self._unlabelled, **found)
        )

    def finished(self, primary: str | None) -> tuple[PredictorInfo, dict[str, np.ndarray]]:
        """(the content of predictor.json without the checksum, the tensors). InputError: no head is named `primary`."""
        names = [head.name for head in self.heads]
        check(primary is None or primary in names, f'primary must be one of {", ".join(names)}, got "{primary}"')
        networks, values = self.networks.finished(self.encodings)
        training = TrainingStatistics(self.slices, self._fit_slices, self.split.validation, self.progress)
        tensors = {**self.tensors, **values}
        info = PredictorInfo(
            kind=KIND,
            version=VERSION,
            use=USE,
            patterns=list(PATTERNS),
            windows=list(WINDOWS),
            size=SIZE,
            networks=networks,
            encodings=self.encodings,
            heads=sorted(self.heads, key=lambda head: head.name != primary),
            primary=primary or names[0],
            preparation=self.preparation,
            reference=training.geometry(),
            training=self._training(),
            versions=versions(),
            tensors_sha256="",
        )
        predictor = SlicePredictor(info, tensors, checksum="", weights=self.networks.weights)
        likelihood = {name: training.likelihoods(predictor, name) for name in self.encodings}
        residual = {name: training.residuals(self._without_validation(predictor), name) for name in self.encodings}
        known = {name: found for name, found in residual.items() if found is not None}
        reference = info.reference.model_copy(
            update={
                "log_likelihood": {name: quantiles for name, (quantiles, _) in likelihood.items()},
                "scan_log_likelihood": {name: limits for name, (_, limits) in likelihood.items()},
                "residual": {name: quantiles for name, (quantiles, _) in known.items()},
                "scan_residual": {name: limits for name, (_, limits) in known.items() if limits is not None},
            }
        )
        floors = {
            name: one.model_copy(update={"floor": training.floor(predictor, name)})
            for name, one in self.encodings.items()
        }
        return info.model_copy(update={"reference": reference, "encodings": floors}), tensors

    def _without_validation(self, predictor: SlicePredictor) -> SlicePredictor:
        """The predictor with the encodings that were fitted on the fit patients, without the validation patients."""
        if self.everyone is None:
            return predictor
        tensors, info = dict(predictor.tensors), predictor.info
        for name, encoding in self.cross.items():
            tensors |= tensors_of(name, encoding)
        encodings = {
            name: one.model_copy(update={"estimators": estimators_of(self.cross[name])})
            for name, one in info.encodings.items()
        }
        info = info.model_copy(update={"encodings": encodings})
        return SlicePredictor(info, tensors, checksum="", weights=self.networks.weights)

    @property
    def _fit_slices(self) -> np.ndarray:
        return self.split.fit if self.everyone is None else self.everyone.split.fit

    @property
    def _unlabelled(self) -> list[str]:
        """The patterns without any label on the training slices."""
        train = self.split.train if self.everyone is None else self.everyone.split.train
        labelled = labelled_patterns(self.slices, units_of(self.slices, train))
        return [pattern for pattern, known in zip(PATTERNS, labelled, strict=True) if not known]

    def _training(self) -> dict[str, Any]:
        """Statistics of the training data, without identities."""
        patients, none, given = self.slices.patients, np.empty(0, int), self.slices.given_lung_masks
        held_out = self.split.validation if self.everyone is None else none
        return {
            "data": self.slices.data,
            "all_patients": self.everyone is not None,
            "held_out_fold": self.split.fold,
            "folds": self.folds.n_folds,
            "fit_slices": len(self._fit_slices),
            "fit_patients": len(set(patients[self._fit_slices].tolist())),
            "validation_slices": len(held_out),
            "validation_patients": len(set(patients[held_out].tolist())),
            "slices_sha256": self.slices.key,
            **({"given_lung_masks": given} if given else {}),
        }
