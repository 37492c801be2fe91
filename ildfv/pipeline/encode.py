"""Encodes the slices of a workspace: fits the encoder and the PCA on the fit patients, then transforms all slices.

Activation maps are not stored on disk. Every pass computes them again by running the network up to the layer, unless
they are still in memory from an earlier pass. Each step is complete on disk before the next step begins, so a killed
run is resumed at the first unfinished step or part.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ildfv import distributed
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.kernels.cuda.oom import batch_size
from ildfv.pipeline import projection as projection_step
from ildfv.pipeline.choices import LUNG, PASSES, SLICE, check_method
from ildfv.pipeline.descriptors import UNTRAINED, InHounsfield, descriptors, fields_of, prepare_descriptors
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.encoders import Training, kind
from ildfv.pipeline.encodings import FINISHED, Encoding
from ildfv.pipeline.fisher import FisherVectors
from ildfv.pipeline.frozen import frozen_inputs, frozen_name, frozen_network, weights_of
from ildfv.pipeline.order import record
from ildfv.pipeline.owned import owned
from ildfv.pipeline.regions import Region, Weights, check_region
from ildfv.pipeline.split import Split, load_folds, split_slices
from ildfv.pipeline.train import check_trained_on, newest_model
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import key_of, sha256
from ildfv.store.checksummed import write_checksummed
from ildfv.store.models import TENSORS
from ildfv.streaming.maps import BATCH_SIZE
from ildfv.streaming.memory import MapMemory
from ildfv.version import versions

if TYPE_CHECKING:
    from ildfv.train.descriptors import Descriptors

MAX_COMPONENTS = 1024  # the limit of the kernels on all devices


@dataclass(frozen=True)
class EncodeSettings:
    """Everything that an encoding depends on, except slices, folds and network."""

    layer: str = "conv1"
    components: int = 32  # number k of components of the mixture
    dimensions: int = 512  # maximum number of PCA dimensions; it is also limited by the number of fit slices
    passes: int | None = None  # maximum number of EM passes; None: 3 stepwise or 10 exact
    tolerance: float = 1e-3  # EM stops if a pass increases the mean log likelihood by less
    method: str = "stepwise"  # two stepwise passes reach a higher likelihood than 100 exact ones (bench/NOTES.md)
    improved: bool = True  # whether vectors are normalised: signed square root, then unit L2 norm
    seed: int | None = None  # None: the seed of the workspace
    batch_size: int | None = None  # slices; None: BATCH_SIZE on the CPU, as many as fit in memory on a GPU
    region: str = SLICE  # where descriptors are pooled: slice (as in the paper), body or lung
    lungs: str = "rule"  # method that finds the lung, for region "lung"

    def __post_init__(self):
        if self.passes is None:
            object.__setattr__(self, "passes", PASSES.get(self.method))
        check_method(self.method)
        for name in ("components", "dimensions", "passes", "batch_size"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"{name} must be at least 1, got {value}")
        check(self.components <= MAX_COMPONENTS, f"components must be at most {MAX_COMPONENTS}, got {self.components}")
        check_region(self.region, self.lungs)

    def recorded(self) -> dict:
        """The settings as recorded in fingerprints. With region "slice", the fields region and lungs are omitted.

        Encodings that were made before regions existed therefore still match.
        """
        fields = asdict(self)
        if self.region == SLICE:
            del fields["region"], fields["lungs"]
        return fields

    def with_batch_size(self, activations) -> EncodeSettings:
        """These settings with a batch size: BATCH_SIZE on the CPU, or what fits in the memory of rank 0's GPU."""
        if self.batch_size is not None:
            return self
        if activations.device.type == "cpu":
            return replace(self, batch_size=BATCH_SIZE)
        # Memory is needed for three batches: one in the network and one in the encoder at the same time, and possibly
        # one for the CUDA graphs of smaller batches.
        slices = batch_size(3 * activations.bytes_per_slice(), activations.device)
        return replace(self, batch_size=distributed.from_main(slices))


def encode_slices(
    root: Path,
    settings: EncodeSettings,
    *,
    fold: int = 0,
    model: str | None = None,
    network: str | None = None,
    weights: Path | None = None,
    device: str = "auto",
    fresh: bool = False,
    progress: Progress = SILENT,
) -> dict:
    """Writes the encoding encodings/<layer>/fold-<k>/ and returns the content of its encoding.json.

    All slices are encoded. The mixture and the PCA are fitted only on the slices of the fit patients, so both are
    independent of validation and test slices. model: name of a network that was trained without this fold; None: the
    one that was finished last. The layers "filters" and "patches" need no network. network, weights: a frozen network
    that is used instead of a trained network, see `pipeline.frozen`, and the file with its weights; by default the file
    that a package installs (efficientnet-lite0). The encoding is then named after network and layer, such as
    timm-resnet18-layer3. fresh: whether to replace an encoding that was made with other settings.

    InputError: an option is invalid or contradicts another, there is no trained network, it was trained on other slices
    or folds than the current ones, weights are missing, or the encoding was made with other settings and `fresh` is
    false.
    """
    distributed.start()
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    workspace, device = Workspace.open(root), resolve(device)
    slices = workspace.slices()
    split = split_slices(slices, load_folds(workspace), fold)
    settings = EncodeSettings(**asdict(settings) | {"seed": _seed(settings, workspace)})
    source: Any = slices  # the slices whose images are the input of the layer
    activations: Activations | Descriptors
    made_by: dict[str, str | bool]
    if settings.layer in UNTRAINED:
        check(model is None, f'layer "{settings.layer}" needs no network, got --model {model}: omit --model')
        check(network is None, f'layer "{settings.layer}" needs no network, got --network {network}: omit --network')
        activations, made_by = descriptors(settings.layer, device), {"model": "no network"}
        if slices.has_hounsfield:
            source, made_by = InHounsfield(slices), made_by | {"hounsfield": True}
    elif network is not None or weights is not None:
        if network is None:
            raise InputError("weights must be given together with their network, got no network: add --network NAME")
        weights = weights_of(network, weights)
        check(model is None, f"model must be omitted with network {network}, which is frozen, got --model {model}")
        frozen = frozen_network(network, weights, slices, split.fit, device, progress, layer=settings.layer)
        activations, made_by = Activations(frozen, settings.layer).alone(), frozen_inputs(network, weights)
        settings = replace(settings, layer=frozen_name(network, settings.layer))
    else:
        model_folder = newest_model(workspace, fold, model)
        check_trained_on(model_folder, slices, split)
        progress.note(f"network: {model_folder}")
        activations = Activations(load(model_folder, device), settings.layer).alone()
        made_by = {
            "model": f"{model_folder.parent.name}/{model_folder.name}",
            "model_sha256": sha256(model_folder / TENSORS),
        }
    folder = workspace.encoding_dir(settings.layer, fold, settings.region)
    info = encode(
        folder,
        source,
        activations,
        split,
        settings,
        inputs={
            **settings.recorded(),
            "fold": fold,
            "slices": slices.key,
            "folds": split.folds,
            "fit": key_of(split.fit.tolist()),
            **made_by,
        },
        root=workspace.root,
        fresh=fresh,
        progress=progress,
    )
    if distributed.is_main():
        record(workspace, folder / FINISHED)
    distributed.barrier()
    return info


def encode(
    folder: Path,
    slices: Slices | InHounsfield,
    activations,
    split: Split,
    settings: EncodeSettings,
    *,
    inputs: dict,
    root: Path,
    encoder: str = "fisher",
    words: int = 512,
    fresh: bool = False,
    progress: Progress = SILENT,
) -> dict:
    """Writes the encoding of all slices to `folder` and returns the content of its encoding.json.

    activations: function from images to the maps of the layer, with the attributes `d`, `n` and `device`. The encoder
    and the PCA are fitted only on `split.fit`. inputs: everything that the encoding depends on, as JSON values. Its
    field "slices" is the key of the slices. If the folder was created with other inputs, InputError is raised or, with
    `fresh`, the folder is emptied. root: the workspace. encoder: a name in `encoders.ENCODERS`. words: the number of
    visual words of the encoder "words".
    """
    encoder_kind, n = kind(encoder), activations.n
    if encoder_kind.model == "mixture":
        descriptors = n * len(split.fit)
        rule = f"--components must be at most {descriptors}, the number of descriptors of the fit slices"
        check(settings.components <= descriptors, f"{rule}, got {settings.components}")
    batch = settings.with_batch_size(activations).batch_size
    with owned(folder, inputs, {"fitted_batch_size": batch}, fresh=fresh) as stored:
        # The stored batch size is used, because the bytes of the results depend on it and free GPU memory may change.
        settings = replace(settings, batch_size=stored["fitted_batch_size"])
        if distributed.from_main((folder / FINISHED).exists()):
            progress.note(f"{folder} is already finished: remove it to encode the slices again with the same settings")
            return Encoding(folder).info
        started = time.monotonic()
        weights = _weights(root, slices, activations, settings, progress)
        prepare_descriptors(folder, slices, activations, split.fit, settings, weights)
        memory = MapMemory()
        training = Training(folder, slices, activations, split.fit, settings, words, progress, weights, memory)
        fitted = encoder_kind.fit(training)
        encoder_parts = (fitted.estimator, fitted.length, settings, weights, memory)
        fisher = FisherVectors(folder / "fisher", slices, activations, *encoder_parts)
        fisher.write(progress)
        pca = projection_step.fit(folder / "pca", fisher, split.fit, settings, progress)
        projection_step.write(folder / "projection", fisher, pca, progress)
        seconds = time.monotonic() - started
        info = {
            "layer": settings.layer,
            "region": settings.region,
            "stored_lung_masks": slices.stored_lung_masks if settings.region == LUNG else 0,
            "fold": split.fold,
            "data": slices.data,
            "slices": len(slices),
            "fit_slices": len(split.fit),
            "descriptors": len(slices) * n,
            "descriptors_a_slice": n,
            "d": activations.d,
            "encoder": encoder,
            "components": settings.components,
            **fitted.summary,
            "length": fisher.length,
            "fisher_length": fisher.length,  # the name of "length" in earlier versions
            "fisher_stored": fisher.stored,
            "dimensions": len(pca.components_),
            "explained_variance": float(pca.explained_variance_ratio_.sum()),
            "inputs": inputs,
            "versions": versions(),
            "folder": str(folder.relative_to(root)),
        }
        if distributed.is_main():
            write_checksummed(folder / FINISHED, info)
            progress.note(f"{settings.layer}: encoded in {seconds:.1f} s")
    distributed.barrier()
    return info


def _seed(settings: EncodeSettings, workspace: Workspace) -> int:
    return workspace.settings.seed if settings.seed is None else settings.seed


def _weights(
    root: Path, slices: Slices | InHounsfield, activations, settings: EncodeSettings, progress: Progress
) -> Weights | None:
    """The function from slice indices to the weights of their descriptors; None if the whole slice is pooled."""
    if settings.region == SLICE:
        return None
    windowed = slices.windowed if isinstance(slices, InHounsfield) else slices  # all layers use the same masks
    region = Region(root, windowed, settings.region, settings.lungs)
    region.write(progress)
    return region.weights(fields_of(activations))
