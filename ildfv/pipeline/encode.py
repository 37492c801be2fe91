"""From slices to an encoding: mixture on all training descriptors, Fisher vectors of all slices, PCA, projections.

No activation is stored: every pass runs the network as far as the layer and takes the moments at once. Each step is
finished before the next begins and is found finished by the next run, so a killed run goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ildfv import distributed
from ildfv.errors import InputError, check
from ildfv.estimators.fisher import FisherVector
from ildfv.kernels.cuda.oom import batch_size
from ildfv.pipeline import mixture as mixture_step
from ildfv.pipeline import projection as projection_step
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.encodings import FINISHED, Encoding
from ildfv.pipeline.fisher import FisherVectors
from ildfv.pipeline.order import record
from ildfv.pipeline.split import load_folds, make_roles
from ildfv.pipeline.train import check_trained_on, newest_model
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import sha256, sweep
from ildfv.store.checksummed import write_sealed
from ildfv.store.fingerprint import claim
from ildfv.store.lock import writing
from ildfv.store.models import TENSORS
from ildfv.streaming.maps import BATCH_SIZE
from ildfv.version import versions

PASSES = {"stepwise": 3, "exact": 10}  # of EM by method, unless told otherwise
MOST = 1024  # components of a mixture: as many as the kernels take on every device


@dataclass(frozen=True)
class EncodeSettings:
    """All that decides an encoding beside slices, folds and network."""

    layer: str = "conv1"
    components: int = 32  # k of the mixture
    dimensions: int = 512  # after PCA, at most: fewer where the training slices are fewer
    passes: int | None = None  # EM passes over all training descriptors, at most; None: 3 stepwise or 10 exact ones
    tolerance: float = 1e-3  # nats a descriptor: EM ends when a pass gains less
    method: str = "stepwise"  # two passes of it pass a hundred of "exact" EM (bench/NOTES.md)
    improved: bool = True  # signed square root, then unit L2 norm
    seed: int | None = None  # None: the workspace's
    batch_size: int | None = None  # None: BATCH_SIZE on the CPU, on a GPU as many as fit

    def __post_init__(self):
        if self.passes is None:
            object.__setattr__(self, "passes", PASSES.get(self.method))
        check(self.method in PASSES, f'method must be {" or ".join(PASSES)}, got "{self.method}"')
        for name in ("components", "dimensions", "passes", "batch_size"):
            value = getattr(self, name)
            check(value is None or value >= 1, f"{name} must be at least 1, got {value}")
        check(self.components <= MOST, f"components must be at most {MOST}, got {self.components}")

    def fitted(self, activations) -> EncodeSettings:
        """The same with a batch size: the caches of a CPU or the memory of rank 0's GPU say it. All ranks cut alike."""
        if self.batch_size is not None:
            return self
        if activations.device.type == "cpu":
            return replace(self, batch_size=BATCH_SIZE)
        # Thrice: the network is a batch ahead of the moments, and small batches may have graphs of their own.
        slices = batch_size(3 * activations.bytes_of_a_slice(), activations.device)
        return replace(self, batch_size=distributed.from_main(slices))


def encode_slices(
    root: Path,
    settings: EncodeSettings,
    *,
    fold: int = 0,
    model: str | None = None,
    device: str = "auto",
    fresh: bool = False,
    progress: Progress = SILENT,
) -> dict:
    """What encoding.json holds, once encodings/<layer>/fold-<k>/ is finished.

    model: name of a trained network, None for the one finished last. Mixture and PCA are fitted on the slices of
    training patients only; every slice is encoded. fresh: removes an encoding made with other settings.
    """
    distributed.start()
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    workspace, device = Workspace.open(root), resolve(device)
    slices = workspace.slices()
    roles = make_roles(slices, load_folds(workspace), fold)
    model_folder = newest_model(workspace, fold, model)
    check_trained_on(model_folder, slices, roles)
    progress.note(f"network: {model_folder}")
    settings = EncodeSettings(**asdict(settings) | {"seed": _seed(settings, workspace)})
    activations = Activations(load(model_folder, device), settings.layer).alone()

    descriptors = activations.n * len(roles.train)
    rule = f"components must be at most the number of training descriptors {descriptors}"
    check(settings.components <= descriptors, f"{rule}, got {settings.components}")

    folder = workspace.encoding_dir(settings.layer, fold)
    inputs = {
        **asdict(settings),
        "fold": fold,
        "slices": slices.key,
        "folds": roles.folds,
        "model": f"{model_folder.parent.name}/{model_folder.name}",
        "model_sha256": sha256(model_folder / TENSORS),
    }
    fitted = settings.fitted(activations).batch_size
    with _owned(folder, inputs, {"fitted_batch_size": fitted}, fresh=fresh) as begun:
        # What fits may be another number by now, or on another GPU: bytes depend on where batches end.
        settings = replace(settings, batch_size=begun["fitted_batch_size"])
        if distributed.from_main((folder / FINISHED).exists()):
            progress.note(f"{folder} is finished already")
            if distributed.is_main():
                record(workspace, folder / FINISHED)
            return Encoding(folder).info
        started = time.monotonic()
        mixture = mixture_step.fit(folder / "mixture", slices, activations, roles.train, settings, progress)
        encoder = FisherVector(mixture, improved=settings.improved)
        fisher = FisherVectors(folder / "fisher", slices, activations, encoder, 2 * mixture.means_.size, settings)
        fisher.write(progress)
        pca = projection_step.fit(folder / "pca", fisher, roles.train, settings, progress)
        projection_step.write(folder / "projection", fisher, pca, progress)
        seconds = time.monotonic() - started
        info = {
            "layer": settings.layer,
            "fold": fold,
            "data": slices.data,
            "slices": len(slices),
            "train_slices": len(roles.train),
            "descriptors": len(slices) * activations.n,
            "d": activations.d,
            "components": settings.components,
            "passes": int(mixture.n_iter_),
            "mean_log_likelihood": mixture.lower_bound_,
            "fisher_length": fisher.length,
            "fisher_stored": fisher.stored,
            "dimensions": len(pca.components_),
            "explained_variance": float(pca.explained_variance_ratio_.sum()),
            "inputs": inputs,
            "versions": versions(),
            "folder": str(folder.relative_to(workspace.root)),
        }
        if distributed.is_main():
            write_sealed(folder / FINISHED, info)
            record(workspace, folder / FINISHED)
            progress.note(f"{settings.layer}: encoded in {seconds:.1f} s")
    distributed.barrier()
    return info


def _seed(settings: EncodeSettings, workspace: Workspace) -> int:
    return workspace.settings.seed if settings.seed is None else settings.seed


@contextmanager
def _owned(folder: Path, inputs: dict, found_out: dict, *, fresh: bool) -> Iterator[dict]:
    """What `claim` gives, of the folder locked and claimed by rank 0; the others wait, and stop where it fails."""
    with writing(folder) if distributed.is_main() else nullcontext():
        begun: dict | InputError = {}
        if distributed.is_main():
            try:
                sweep(folder)
                begun = claim(folder, inputs, fresh=fresh, found_out=found_out)
            except InputError as error:
                begun = error
        begun = distributed.from_main(begun)
        if isinstance(begun, InputError):
            raise begun
        yield begun
