"""A predictor: a folder with everything that turns a slice into scores, without data of patients.

predictor.safetensors   the network up to the deepest layer needed, and the tensors of the heads
predictor.json          see `schema`
MODEL_CARD.md           training data, expected performance, intended use
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from ildfv.errors import InputError, check, require
from ildfv.evaluation.thresholds import Decisions
from ildfv.inference.heads import FisherEncoding, FisherHead, decisions_of
from ildfv.inference.layers import Layers
from ildfv.inference.masks import Masks
from ildfv.inference.schema import CNN, FISHER, KIND, VERSION, Head, PredictorInfo
from ildfv.store.atomic import read_json, sha256, write_bytes
from ildfv.store.models import part_of

if TYPE_CHECKING:
    from ildfv.inference.prediction import Prediction

TENSORS, INFO, CARD = "predictor.safetensors", "predictor.json", "MODEL_CARD.md"
BATCH = 16

Inputs = Mapping[str, np.ndarray]  # additional inputs by name, each (m,)


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
    weights : sequence of path
        Files of the weights of frozen networks that the predictor does not contain.

    Attributes
    ----------
    info : PredictorInfo
        The content of predictor.json.
    layers : Layers
        The networks, and their maps.
    """

    def __init__(
        self,
        info: PredictorInfo,
        tensors: dict[str, np.ndarray],
        *,
        checksum: str,
        device: str = "cpu",
        weights: Sequence[Path] = (),
    ):
        self.info, self.checksum, self.device = info, checksum, device
        self._tensors = tensors
        self.layers = Layers(info, tensors, device, weights)

    # -- files -------------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "cpu", weights: Sequence[Path] = ()) -> Predictor:
        """The predictor in a folder.

        Parameters
        ----------
        folder : path
            A folder written by `ildfv export`.
        device : str
            "cpu", "cuda" or "cuda:i".
        weights : sequence of path
            Files of the weights of frozen networks that the predictor names by checksum.

        Returns
        -------
        Predictor

        Raises
        ------
        InputError
            Missing files, an unknown version, a wrong checksum, weights that are not given.
        """
        from safetensors.numpy import load_file

        folder = Path(folder)
        for name in (INFO, TENSORS):
            check((folder / name).is_file(), f"{folder} is not a predictor, {name} is missing: run `ildfv export`")
        content = read_json(folder / INFO)
        kind, version = (content.get(name) if isinstance(content, dict) else None for name in ("kind", "version"))
        check(kind == KIND, f"{folder / INFO} must be of kind {KIND!r}, got {kind!r}")
        rule = f"{folder / INFO} must have version {VERSION}, got {version!r}: export it again"
        check(version == VERSION, rule, faq="predictor-version")
        try:
            info = PredictorInfo.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"{folder / INFO}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        found = sha256(folder / TENSORS)
        check(found == info.tensors_sha256, f"{folder / TENSORS} is damaged, its checksum differs: copy it again")
        tensors = load_file(folder / TENSORS)
        return cls(info, tensors, checksum=sha256(folder / INFO), device=device, weights=weights)

    @staticmethod
    def save(
        folder: Path, info: PredictorInfo, tensors: Mapping[str, np.ndarray], card: Callable[[PredictorInfo], str]
    ) -> PredictorInfo:
        """Writes a predictor and returns its info with the checksum. card: the text of the model card."""
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = save({name: np.ascontiguousarray(value) for name, value in sorted(tensors.items())})
        write_bytes(folder / TENSORS, content)
        info = info.model_copy(update={"tensors_sha256": sha256(folder / TENSORS)})
        write_bytes(folder / CARD, card(info).encode())
        text = json.dumps(info.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
        write_bytes(folder / INFO, (text + "\n").encode())  # last: a folder without it is not a predictor
        return info

    # -- scores ------------------------------------------------------------------------------------------------------

    @property
    def patterns(self) -> list[str]:
        """Names of the patterns, in the order of all columns."""
        return self.info.patterns

    def head(self, name: str | None = None) -> Head:
        """The head of that name; None: the primary one."""
        found = {head.name: head for head in self.info.heads}
        name = self.info.primary if name is None else name
        check(name in found, f'head must be one of {", ".join(found)}, got "{name}"')
        return found[name]

    def fisher_head(self, name: str | None = None) -> FisherHead:
        """The Fisher head of that name; None: the primary one, or the first one if that is a network.

        InputError: it is a network, or there is none.
        """
        if name is None:
            name = self.explained
        check(
            name in self._fisher, f'head must be a Fisher vector head, one of {", ".join(self._fisher)}, got "{name}"'
        )
        assert name is not None
        return self._fisher[name]

    @property
    def explained(self) -> str | None:
        """The head whose contributions are shown: the primary one, or the first Fisher head; None without any."""
        return self.info.primary if self.info.primary in self._fisher else next(iter(self._fisher), None)

    def limited(self, head: str) -> bool:
        """Whether the contribution maps of a Fisher head have a floor."""
        return any(self.info.encodings[part.encoding].floor > 0 for part in self.head(head).parts)

    @property
    def inputs(self) -> list[str]:
        """Names of the additional inputs that the heads need for every slice."""
        return sorted({name for head in self.info.heads for name in head.inputs})

    def scores(self, images: np.ndarray, pixel_area: float, inputs: Inputs | None = None) -> dict[str, np.ndarray]:
        """Scores of prepared slices by head.

        Parameters
        ----------
        images : ndarray of shape (m, 3, 224, 224), uint8
            Prepared slices, as returned by `scans.windows.windowed`.
        pixel_area : float
            Area of a pixel of the scan, mm².
        inputs : mapping of str to ndarray of shape (m,)
            The additional inputs named in the attribute `inputs`, if there are any.

        Returns
        -------
        dict of str to ndarray of shape (m, C), float64
            By name of the head; larger means more likely present.
        """
        parts: dict[str, list[np.ndarray]] = {head.name: [] for head in self.info.heads}
        for rows in self.batches(len(images)):
            for name, scores in self.batch_scores(images[rows], pixel_area, _rows(inputs, rows)):
                parts[name].append(scores)
        return {name: np.concatenate(found) for name, found in parts.items()}

    def contributions(
        self, images: np.ndarray, pixel_area: float, head: str | None = None, *, dtype: type = np.float64
    ) -> np.ndarray:
        """Contribution maps of prepared slices for a Fisher head.

        The contribution of a location is spread evenly over its receptive field, so a map sums to the score minus the
        offset and, if the head has additional inputs, their part (`FisherHead.offset`, `.input_part`). With the floor
        of an encoding, contributions that nearly cancel on a slice are limited, and the removed part is spread evenly.

        Parameters
        ----------
        images : ndarray of shape (m, 3, 224, 224), uint8
            Prepared slices, as for `scores`.
        pixel_area : float
            Area of a pixel of the scan, mm².
        head : str, optional
            Name of the head; by default the primary one, or the first Fisher head.
        dtype : type
            Of the result: float64, or float32, which takes 0.8 MB for a slice.

        Returns
        -------
        ndarray of shape (m, C, 224, 224)

        Raises
        ------
        InputError
            The head is unknown or is not a regression on Fisher vectors.
        """
        found = np.empty((len(images), len(self.patterns), *images.shape[2:]), dtype)
        for rows in self.batches(len(images)):
            masks = Masks(images[rows], pixel_area)
            found[rows] = self._contributions(images[rows], masks, self.fisher_head(head))
        return found

    @property
    def network_head(self) -> Head | None:
        """The head of a network's own outputs: the primary one, or the first such head; None without any."""
        found = [head for head in self.info.heads if head.kind == CNN]
        return next((head for head in found if head.name == self.info.primary), next(iter(found), None))

    def check_cam(self) -> Head:
        """The head that Grad-CAM explains. InputError or MissingPackageError: there is none, or Captum is missing."""
        head = self.network_head
        names = ", ".join(one.name for one in self.info.heads)
        check(head is not None, f"Grad-CAM needs a predictor with a CNN head, got {names}: export one with --cnn")
        require("captum.attr", purpose="Grad-CAM maps")
        assert head is not None
        return head

    def cam(self, images: np.ndarray, *, dtype: type = np.float64) -> np.ndarray:
        """Grad-CAM maps of prepared slices for the head `network_head`, (m, C, 224, 224), signed.

        Parameters are those of `contributions`; errors those of `check_cam`. Unlike contribution maps, they do not add
        up to the score.
        """
        from ildfv.inference.cnn_maps import grad_cam

        network: Any = self.layers.network(self.check_cam().network or "")
        return grad_cam(network, images, at_once=BATCH, dtype=dtype)

    def log_likelihoods(self, images: np.ndarray, pixel_area: float, encoding: str) -> np.ndarray:
        """Mean log likelihood per descriptor of each slice under an encoding's mixture, (m,); NaN without any."""
        from ildfv.kernels import moments

        found, mixture = [], self._encodings[encoding].fisher.fitted_mixture()
        for rows in self.batches(len(images)):
            maps = self.layers.maps(encoding, images[rows])
            weights = self._weights(encoding, Masks(images[rows], pixel_area))
            total = maps.shape[2] * maps.shape[3] if weights is None else weights.sum(axis=1)
            sums = np.asarray(moments(maps, mixture, weights=weights).log_likelihood, dtype=np.float64)
            with np.errstate(invalid="ignore", divide="ignore"):
                found.append(np.where(np.asarray(total) > 0, sums / total, np.nan))
        return np.concatenate(found)

    def raw_sizes(self, images: np.ndarray, pixel_area: float, encoding: str) -> np.ndarray:
        """`|r_j|` of each slice's Fisher vector before normalisation, (m, 2·k·d): its quantiles are floors of maps."""
        from ildfv.inference.contributions import raw_sizes

        found, fisher = [], self._encodings[encoding].fisher
        for rows in self.batches(len(images)):
            weights = self._weights(encoding, Masks(images[rows], pixel_area))
            found.append(raw_sizes(fisher, self.layers.maps(encoding, images[rows]), weights))
        return np.concatenate(found)

    def predict(self, scan: Path | str, *, series: str | None = None) -> Prediction:
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
            No readable CT scan, several patients, no lung, or a scan that fails a check.
        """
        from ildfv.inference.predict import predict_scan

        return predict_scan(self, Path(scan), series=series)

    def decisions(self, head: Head) -> Decisions:
        """The thresholds and calibration of a head."""
        return decisions_of(head)

    # -- parts -------------------------------------------------------------------------------------------------------

    @staticmethod
    def batches(m: int) -> Iterator[slice]:
        """The rows of m slices that are scored at once."""
        return (slice(start, start + BATCH) for start in range(0, m, BATCH))

    def batch_scores(
        self, images: np.ndarray, pixel_area: float, inputs: Inputs | None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """(name of the head, scores float64 (b, C)) of few slices, scored at once. Parameters as for `scores`."""
        maps, outputs = self.layers.of(images)
        masks = Masks(images, pixel_area)
        projections = {
            name: one.projections(maps[name], self._weights(name, masks)) for name, one in self._encodings.items()
        }
        for head in self.info.heads:
            if head.kind == CNN:
                assert head.network is not None
                yield head.name, outputs[head.network]
            else:
                yield head.name, self._fisher[head.name].scores(projections, inputs)

    def _contributions(self, images: np.ndarray, masks: Masks, head: FisherHead) -> np.ndarray:
        total = np.zeros((len(images), len(self.patterns), *images.shape[2:]))
        for part in head.parts:
            values = part.contributions(self.layers.maps(part.name, images), self._weights(part.name, masks))
            planes = self.layers.fields(part.name).spread(values.transpose(0, 2, 1).reshape(-1, values.shape[1]))
            total += planes.reshape(total.shape)
        return total

    def _weights(self, encoding: str, masks: Masks) -> np.ndarray | None:
        """Weights of descriptors (m, n) in the encoding's region; None for the whole slice."""
        info = self.info.encodings[encoding]
        inside = masks.of(info.region, info.lungs)
        return None if inside is None else self.layers.fields(encoding).shares(inside)

    @cached_property
    def _encodings(self) -> dict[str, FisherEncoding]:
        return {
            name: FisherEncoding.restored(
                one, {part: part_of(self._tensors, f"encoding.{name}.{part}") for part in ("mixture", "pca")}
            )
            for name, one in self.info.encodings.items()
        }

    @cached_property
    def _fisher(self) -> dict[str, FisherHead]:
        return {
            head.name: FisherHead.restored(head, self._encodings, part_of(self._tensors, f"head.{head.name}"))
            for head in self.info.heads
            if head.kind == FISHER
        }


def _rows(inputs: Inputs | None, rows: slice) -> Inputs | None:
    return None if inputs is None else {name: np.asarray(values)[rows] for name, values in inputs.items()}
