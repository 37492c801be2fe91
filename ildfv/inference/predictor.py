"""A predictor: a folder with everything that turns a slice into scores, without data of patients.

predictor.safetensors   the network up to the deepest layer needed, and the tensors of the heads
predictor.json          see `schema`
MODEL_CARD.md           training data, expected performance, intended use
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ildfv.errors import InputError, check
from ildfv.inference.heads import FisherHead, decisions_of
from ildfv.inference.schema import KIND, VERSION, Head, PredictorInfo
from ildfv.scans.body import body_mask
from ildfv.scans.prepared_lungs import lungs_of
from ildfv.scans.windows import NORMAL, WINDOWS
from ildfv.store.atomic import read_json, sha256, write_bytes

TENSORS, INFO, CARD = "predictor.safetensors", "predictor.json", "MODEL_CARD.md"
NETWORK = "network"  # prefix of the network's tensors
BATCH = 16


class Predictor:
    """Scores of new slices by the trained systems ("heads") of a study; created by `load`.

    Parameters
    ----------
    info : PredictorInfo
        The content of predictor.json.
    tensors : dict of str to ndarray
        The content of predictor.safetensors.
    checksum : str
        SHA-256 of the predictor.
    device : str
        "cpu", "cuda" or "cuda:i".

    Attributes
    ----------
    info : PredictorInfo
        The content of predictor.json.
    """

    def __init__(self, info: PredictorInfo, tensors: dict[str, np.ndarray], *, checksum: str, device: str = "cpu"):
        self.info, self.checksum, self.device = info, checksum, device
        self._tensors = tensors

    # -- files -------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "cpu") -> Predictor:
        """The predictor in a folder.

        Parameters
        ----------
        folder : path
            A folder written by `ildfv export`.
        device : str
            "cpu", "cuda" or "cuda:i".

        Returns
        -------
        Predictor

        Raises
        ------
        InputError
            Missing files, an unknown version, a wrong checksum.
        """
        from safetensors.numpy import load_file

        folder = Path(folder)
        for name in (INFO, TENSORS):
            check((folder / name).is_file(), f"{folder} is not a predictor, {name} is missing: run `ildfv export`")
        content = read_json(folder / INFO)
        kind, version = (content.get(name) if isinstance(content, dict) else None for name in ("kind", "version"))
        check(kind == KIND, f"{folder / INFO} must be of kind {KIND!r}, got {kind!r}")
        check(version == VERSION, f"{folder / INFO} must have version {VERSION}, got {version!r}: use another ildfv")
        try:
            info = PredictorInfo.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"{folder / INFO}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        found = sha256(folder / TENSORS)
        check(found == info.tensors_sha256, f"{folder / TENSORS} is damaged, its checksum differs: copy it again")
        return cls(info, load_file(folder / TENSORS), checksum=sha256(folder / INFO), device=device)

    @staticmethod
    def save(folder: Path, values: dict[str, Any], tensors: dict[str, np.ndarray], card: str) -> PredictorInfo:
        """Writes a predictor. values: the fields of `PredictorInfo` without kind, version and checksum."""
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = save({name: np.ascontiguousarray(value) for name, value in sorted(tensors.items())})
        write_bytes(folder / TENSORS, content)
        info = PredictorInfo(kind=KIND, version=VERSION, tensors_sha256=sha256(folder / TENSORS), **values)
        write_bytes(folder / CARD, card.encode())
        text = json.dumps(info.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
        write_bytes(folder / INFO, (text + "\n").encode())  # last: a folder without it is not a predictor
        return info

    # -- scores ------------------------------------------------------------------------------------------------------

    @property
    def patterns(self) -> list[str]:
        """Names of the patterns, in the order of all columns."""
        return self.info.patterns

    def head(self, name: str | None = None) -> Head:
        """The head of that name; None: the first one, which is the default."""
        found = {head.name: head for head in self.info.heads}
        if name is None:
            return self.info.heads[0]
        check(name in found, f'head must be one of {", ".join(found)}, got "{name}"')
        return found[name]

    def scores(self, images: np.ndarray, pixel_area: float) -> dict[str, np.ndarray]:
        """Scores of prepared slices by head.

        Parameters
        ----------
        images : ndarray of shape (m, 3, 224, 224), uint8
            Prepared slices, as returned by `scans.windows.windowed`.
        pixel_area : float
            Area of a pixel of the scan, mm².

        Returns
        -------
        dict of str to ndarray of shape (m, C), float64
            By name of the head; larger means more likely present.
        """
        parts: dict[str, list[np.ndarray]] = {head.name: [] for head in self.info.heads}
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            for head, scores in self._batch(batch, pixel_area):
                parts[head.name].append(scores)
        return {name: np.concatenate(found) for name, found in parts.items()}

    def contributions(self, images: np.ndarray, pixel_area: float, head: str | None = None) -> np.ndarray:
        """Contribution maps of prepared slices for a Fisher head.

        The contribution of a location is spread evenly over its receptive field, so a map sums to score − offset.

        Parameters
        ----------
        images : ndarray of shape (m, 3, 224, 224), uint8
            Prepared slices, as for `scores`.
        pixel_area : float
            Area of a pixel of the scan, mm².
        head : str, optional
            Name of the head; by default the first one.

        Returns
        -------
        ndarray of shape (m, C, 224, 224), float64

        Raises
        ------
        InputError
            The head is unknown or is not a regression on Fisher vectors.
        """
        info = self.head(head)
        check(info.kind == "fisher", f'head must be a Fisher vector head for contributions, got "{info.name}"')
        fields, found = self._fields(layer_of(info)), []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            weights = self._weights(info, batch, pixel_area)
            values = self._fisher[info.name].contributions(self._maps(layer_of(info))(batch), weights)  # (b, n, C)
            planes = fields.spread(values.transpose(0, 2, 1).reshape(-1, values.shape[1]))
            found.append(planes.reshape(len(batch), values.shape[2], *planes.shape[1:]))
        return np.concatenate(found)

    def log_likelihoods(self, images: np.ndarray, pixel_area: float, head: str) -> np.ndarray:
        """Mean log likelihood per descriptor of each slice under a Fisher head's mixture, (m,); NaN without any."""
        from ildfv.kernels import moments

        info, found = self.head(head), []
        mixture = self._fisher[head].fisher.mixture
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            maps, weights = self._maps(layer_of(info))(batch), self._weights(info, batch, pixel_area)
            total = maps.shape[2] * maps.shape[3] if weights is None else weights.sum(axis=1)
            sums = np.asarray(moments(maps, mixture, weights=weights).log_likelihood, dtype=np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                found.append(np.where(np.asarray(total) > 0, sums / total, np.nan))
        return np.concatenate(found)

    def predict(self, scan: Path | str, *, series: str | None = None):
        """The prediction for a scan.

        Parameters
        ----------
        scan : path
            A DICOM folder, or a DICOM, NIfTI or NRRD file.
        series : str, optional
            SeriesInstanceUID to use if there are several; by default the one with the most slices.

        Returns
        -------
        Prediction

        Raises
        ------
        InputError
            No readable CT scan, several patients, no lung, or a scan that breaks a rule.
        """
        from ildfv.inference.predict import predict_scan

        return predict_scan(self, Path(scan), series=series)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _batch(self, images: np.ndarray, pixel_area: float) -> Iterator[tuple[Head, np.ndarray]]:
        for head in self.info.heads:
            if head.kind == "cnn":
                yield head, self._outputs(images)
            else:
                maps = self._maps(layer_of(head))(images)
                yield head, self._fisher[head.name].scores(maps, self._weights(head, images, pixel_area))

    def _outputs(self, images: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self._network(torch.from_numpy(images).to(self.device)).double().cpu().numpy()

    def _weights(self, head: Head, images: np.ndarray, pixel_area: float) -> np.ndarray | None:
        """Weights of descriptors (m, n) in the head's region; None for the whole slice."""
        if head.region == "slice":
            return None
        if head.region == "lung":
            masks = lungs_of(images, np.full(len(images), pixel_area), head.lungs)
        else:
            low, high = WINDOWS[NORMAL]
            masks = np.stack(
                [body_mask(low + one.astype(np.float32) * ((high - low) / 255)) for one in images[:, NORMAL]]
            )
        return self._fields(layer_of(head)).shares(masks)

    @cached_property
    def _network(self):
        """The stored network; the layers above the deepest one needed are missing and never run."""
        from ildfv.train.networks import restored

        prefix = f"{NETWORK}."
        values = {name[len(prefix) :]: value for name, value in self._tensors.items() if name.startswith(prefix)}
        return restored(self.info.network, self.info.n_outputs, values).to(self.device).eval()

    @cached_property
    def _fisher(self) -> dict[str, FisherHead]:
        return {
            head.name: FisherHead.restored(head, self._of(head)) for head in self.info.heads if head.kind == "fisher"
        }

    def _of(self, head: Head) -> dict[str, dict[str, np.ndarray]]:
        """The tensors of a head by estimator."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for estimator in head.estimators:
            prefix = f"{head.name}.{estimator}."
            found[estimator] = {n[len(prefix) :]: v for n, v in self._tensors.items() if n.startswith(prefix)}
        return found

    def _maps(self, layer: str):
        if layer not in self._activations:
            from ildfv.train.activations import Activations

            self._activations[layer] = Activations(self._network, layer)
        return self._activations[layer]

    def _fields(self, layer: str):
        if layer not in self._receptive:
            from ildfv.train.receptive import receptive_fields

            self._receptive[layer] = receptive_fields(self._network, layer)
        return self._receptive[layer]

    @cached_property
    def _activations(self) -> dict:
        return {}

    @cached_property
    def _receptive(self) -> dict:
        return {}

    def decisions(self, head: Head):
        """The thresholds and calibration of a head."""
        return decisions_of(head)


def prefixed(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with a prefix before their names."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


__all__: Sequence[str] = ("Predictor", "prefixed")


def layer_of(head: Head) -> str:
    """The layer that a Fisher head describes."""
    if head.layer is None:
        raise InputError(f'head "{head.name}" of a predictor must have a layer, got none: export it again')
    return head.layer
