"""The scores and the maps of prepared slices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from ildfv.errors import check, require
from ildfv.inference.batch import SliceBatch
from ildfv.inference.cnn_methods import GRAD_CAM, CnnMethod
from ildfv.inference.heads import FisherHead, mapped_head
from ildfv.inference.layers import Layers
from ildfv.inference.pooled_encodings import PooledEncodings, Texture
from ildfv.inference.predictor_files import read_predictor
from ildfv.inference.schema import CNN, FISHER, Head, PredictorInfo
from ildfv.progress import SILENT, Progress
from ildfv.store.models import part_of

BATCH = 16

Inputs = Mapping[str, np.ndarray]  # additional inputs by name, each (m,)
Given = np.ndarray | None  # an optional array of the slices: HU, or masks of the lung


class SlicePredictor:
    """Computes the scores of prepared slices with the heads of a study's trained systems. Created by `load`.

    Parameters
    ----------
    info : PredictorInfo
        The content of predictor.json.
    tensors : dict of str to ndarray
        The content of predictor.safetensors.
    checksum : str
        SHA-256 of predictor.json, which contains the SHA-256 of the tensors.
    device : str
        "cpu", "cuda" or "cuda:i".
    weights : sequence of path
        Files with the weights of frozen networks that the predictor does not contain.

    Attributes
    ----------
    tensors : dict of str to ndarray
        As given.
    layers : Layers
        The networks, and the layers without a network.
    """

    def __init__(
        self,
        info: PredictorInfo,
        tensors: dict[str, np.ndarray],
        *,
        checksum: str,
        device: str = "cpu",
        weights: Sequence[Path] = (),
    ) -> None:
        self.info, self.checksum, self.device = info, checksum, device
        self.tensors = tensors
        self.layers = Layers(info, tensors, device, weights)
        self._encodings = PooledEncodings(info, tensors, self.layers)

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "cpu", weights: Sequence[Path] = ()) -> Self:
        """The predictor in a folder.

        Parameters
        ----------
        folder : path
            A folder written by `ildfv export`.
        device : str
            "cpu", "cuda" or "cuda:i".
        weights : sequence of path
            Files with the weights of frozen networks that the predictor does not contain.

        Returns
        -------
        SlicePredictor
            An instance of the class on which `load` is called.

        Raises
        ------
        InputError
            A file is missing or invalid, the version is unknown, a checksum differs, or required weights are not given.
        """
        info, tensors, checksum = read_predictor(Path(folder))
        return cls(info, tensors, checksum=checksum, device=device, weights=weights)

    @property
    def patterns(self) -> list[str]:
        """Names of the patterns, in the order of the columns of all results."""
        return self.info.patterns

    def head(self, name: str | None = None) -> Head:
        """The head with this name; None: the primary head. InputError: there is no such head."""
        found, name = {head.name: head for head in self.info.heads}, self.info.primary if name is None else name
        check(name in found, f'head must be one of {", ".join(found)}, got "{name}"')
        return found[name]

    def fisher_head(self, name: str | None = None) -> FisherHead:
        """The Fisher head with this name; None: the head that the attribute `explained` names.

        InputError: no head has this name, the head is not a Fisher head, or there is no Fisher head.
        """
        if name is None:
            name = self.explained
        names = ", ".join(head.name for head in self.info.heads)
        check(bool(self._fisher), f"contribution maps need a predictor with a Fisher vector head, got {names}")
        known = ", ".join(self._fisher)
        check(name in self._fisher, f'head must be a Fisher vector head, one of {known}, got "{name}"')
        assert name is not None
        return self._fisher[name]

    @property
    def explained(self) -> str | None:
        """Name of the head whose contribution maps are computed by default; None if there is no Fisher head.

        It is the primary head or, if that is not a Fisher head, the first Fisher head.
        """
        return self.info.primary if self.info.primary in self._fisher else next(iter(self._fisher), None)

    def limited(self, head: str) -> bool:
        """Whether an encoding of a Fisher head has a floor, which limits its contribution maps."""
        return any(self.info.encodings[part.encoding].floor > 0 for part in self.head(head).parts)

    @property
    def inputs(self) -> list[str]:
        """Names of the additional inputs that the heads need for every slice."""
        return sorted({name for head in self.info.heads for name in head.inputs})

    @property
    def reads_hounsfield(self) -> bool:
        """Whether a layer reads slices in HU (`prepare --hu`). The parameter `hu` of the methods is then required."""
        return any(one.hounsfield for one in self.info.encodings.values())

    def scores(
        self, images: np.ndarray, pixel_area: float, inputs: Inputs | None = None, *, hu: Given = None,
        lung: Given = None,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """Scores of prepared slices, by head.

        Parameters
        ----------
        images : ndarray of shape (m, 3, 224, 224), uint8
            Prepared slices, as returned by `scans.windows.windowed`.
        pixel_area : float
            Area of one pixel of a 512×512 grid over the square that a prepared slice shows, mm²
            (`Volume.paper_pixel_area`).
        inputs : mapping of str to ndarray of shape (m,)
            The additional inputs named in the attribute `inputs`, if there are any.
        hu : ndarray of shape (m, 1, 224, 224), int16, optional
            The same slices in HU (`scans.hounsfield.mean_hounsfield`), needed if `reads_hounsfield` is true.
        lung : ndarray of shape (m, 224, 224), bool, optional
            Masks of the lung of the slices; by default computed by the built-in rule.

        Returns
        -------
        dict of str to ndarray of shape (m, C), float64
            By name of the head. A larger score means that the pattern is more likely present. The scores of a pattern
            that had no label in the training data are NaN.

        Raises
        ------
        InputError
            Additional inputs that a head needs are not given, or `hu` is needed and is missing or has the wrong type
            or shape.
        """
        parts: dict[str, list[np.ndarray]] = {head.name: [] for head in self.info.heads}
        for rows, some in SliceBatch(images, pixel_area, hu, lung).parts(BATCH):
            given = None if inputs is None else {name: np.asarray(values)[rows] for name, values in inputs.items()}
            for name, scores in self.batch_scores(some, given):
                parts[name].append(scores)
        return {name: np.concatenate(found) for name, found in parts.items()}

    def contributions(
        self, images: np.ndarray, pixel_area: float, head: str | None = None, *, dtype: type = np.float64,
        hu: Given = None, lung: Given = None,
    ) -> np.ndarray:  # fmt: skip
        """Contribution maps of prepared slices for a Fisher head.

        The contribution of a location is spread evenly over its receptive field. The sum of a map is the score minus
        the offset (`FisherHead.offset`) and minus the part of additional inputs (`FisherHead.input_part`). If an
        encoding has a floor (`inference.contributions`), the contributions of elements of the Fisher vector near 0 are
        limited. The difference from the score is then distributed over all descriptors in the encoding's region.

        Parameters
        ----------
        images, pixel_area, hu, lung
            As for `scores`.
        head : str, optional
            Name of the head; by default the head that the attribute `explained` names.
        dtype : type
            Type of the result: float64, or float32, which takes 0.8 MB per slice for C = 4.

        Returns
        -------
        ndarray of shape (m, C, 224, 224)

        Raises
        ------
        InputError
            The head is unknown or is not a regression on Fisher vectors, or `hu` is invalid as for `scores`.
        """
        found = np.empty((len(images), len(self.patterns), *images.shape[2:]), dtype)
        for rows, some in SliceBatch(images, pixel_area, hu, lung).parts(BATCH):
            found[rows] = self._encodings.contributions(self.fisher_head(head), some)
        return found

    def check_cnn_maps(self, method: CnnMethod = GRAD_CAM) -> Head:
        """The head for which `cnn_maps` computes maps (`heads.mapped_head`), after a check that it can compute them.

        InputError: there is no CNN head. MissingPackageError: Captum is not installed.
        """
        head = mapped_head(self.info, method)
        require("captum.attr", purpose=f"{method.title} maps")
        return head

    def cnn_maps(
        self, images: np.ndarray, method: CnnMethod = GRAD_CAM, *, dtype: type = np.float64, progress: Progress = SILENT
    ) -> np.ndarray:
        """Maps of prepared slices for the head that `check_cnn_maps` returns, (m, C, 224, 224).

        Negative values are evidence against the pattern. Unlike contribution maps, the maps do not add up to the score.
        images: as for `scores`. dtype: as for `contributions`. method: Grad-CAM or occlusion. The errors are those of
        `check_cnn_maps`.
        """
        from ildfv.inference.cnn_maps import maps_of

        network: Any = self.layers.network(self.check_cnn_maps(method).network or "")
        return maps_of(method, network, images, at_once=BATCH, dtype=dtype, progress=progress)

    def texture(self, slices: SliceBatch, encoding: str) -> Texture:
        """The measures of how well the mixture and the PCA of an encoding describe each of the slices."""
        found = [self._encodings.texture(encoding, some) for _, some in slices.parts(BATCH)]
        return Texture(*(np.concatenate(values) for values in zip(*found, strict=True)))

    def raw_sizes(self, slices: SliceBatch, encoding: str) -> np.ndarray:
        """Absolute values of the elements of each slice's Fisher vector before power and L2 normalisation, (m, 2·k·d).

        Quantiles of these values are used as floors of contribution maps.
        """
        return np.concatenate([self._encodings.raw_sizes(encoding, some) for _, some in slices.parts(BATCH)])

    @staticmethod
    def batches(m: int) -> Iterator[slice]:
        """The rows of each batch of the m slices."""
        return (slice(start, start + BATCH) for start in range(0, m, BATCH))

    def batch_scores(self, batch: SliceBatch, inputs: Inputs | None) -> Iterator[tuple[str, np.ndarray]]:
        """Yields (name of the head, scores float64 (b, C)) for one batch of slices. inputs: as for `scores`."""
        maps, outputs = self.layers.of(batch.images, batch.hu)
        vectors = self._encodings.vectors(maps, batch)
        for head in self.info.heads:
            if head.kind == CNN:
                assert head.network is not None
                found = outputs[head.network]
            else:
                found = self._fisher[head.name].scores(vectors, inputs)
            yield head.name, np.where(np.isin(self.patterns, head.unlabelled), np.nan, found)

    @cached_property
    def _fisher(self) -> dict[str, FisherHead]:
        return {
            head.name: FisherHead.restored(head, self._encodings.fisher, part_of(self.tensors, f"head.{head.name}"))
            for head in self.info.heads
            if head.kind == FISHER
        }
