"""The complete pipeline on generated phantoms, from scans to the report and the prediction for a new patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ildfv.counted import counted
from ildfv.errors import check
from ildfv.evaluation.baselines import MEAN, best_baselines
from ildfv.inference.inbox import predict_all
from ildfv.pipeline.baselines import score_baselines
from ildfv.pipeline.clock import Clock
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.report import make_report
from ildfv.pipeline.split import load_folds, write_folds
from ildfv.pipeline.train import train_network
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress

TIMES = "demo.json"  # file with the wall times, in the workspace
# Many patients with few slices: at least five held-out patients show each pattern, as intervals require.
PATIENTS, SLICES, FOLDS = 42, 8, 3
EPOCHS = 4  # more epochs would reduce the loss, but a demo should take minutes
SALT = "phantoms have no identity to protect"  # fixed, so that demos with equal seeds give equal bytes


def run_demo(
    folder: Path,
    *,
    patients: int = PATIENTS,
    seed: int = 0,
    layers: tuple[str, ...] = ("conv1", "conv5"),
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict:
    """Runs the demo in `folder` and returns its results as a dict.

    report: path of the report. results: list of `Results`: the systems, then the best baseline. seconds: wall time of
    each step, over all runs in this folder. predictor: path of the predictor. prediction: path of the page with the
    prediction for a phantom of another seed, which was not used for training. Existing scans, slices, models and
    encodings are reused; scores and the report are computed again.

    InputError: the network does not have one of the layers or the folder has more than `patients` patients, which is
    checked before any computation, or the prediction failed.
    """
    from ildfv.phantom import write_phantoms

    folder = Path(folder)
    scans, root = folder / "scans", folder / "workspace"
    check_layers(layers)
    existing = len(list(scans.glob("patient-*")))
    check(
        existing <= patients,
        f"{scans} must have at most {counted(patients, 'patient')} as requested, got {existing}: "
        f"use --patients {existing} or another folder",
    )
    progress.note(
        f"Demo in {folder}: {counted(patients, 'phantom scan')} of {SLICES} slices, a network, and Fisher vectors of "
        "its layers"
    )
    clock, seconds = Clock(root / TIMES), {}

    def step(name: str, do: Callable, *args, **options):
        with clock.running(name):
            result = do(*args, **options, progress=progress)
        seconds[name] = clock.seconds[name]
        return result

    step("phantom", write_phantoms, scans, patients=patients, seed=seed, slices_per_scan=SLICES)
    step("prepare", prepare_scans, scans, root, seed=seed, salt=SALT)
    workspace = Workspace.open(root)
    if not workspace.folds_file.exists():
        write_folds(workspace, n_folds=FOLDS)
    load_folds(workspace)
    results = [step("train", train_network, root, device=device, epochs=EPOCHS)]
    for layer in layers:
        step(f"encode {layer}", encode_slices, root, EncodeSettings(layer=layer), device=device)
        results.append(step(f"regress {layer}", regress_encoding, root, layer=layer))
    baselines = step("baselines", score_baselines, root, fold=0)
    if best := best_baselines(baselines):
        results += [one for one in baselines if one.system == best[MEAN]]
    report = make_report(root, seconds=seconds)
    predictor, new = folder / "predictor", folder / "new-patient"
    step("export", export_predictor, root, predictor, layer=layers or None, cnn=True)
    step("new patient", write_phantoms, new, patients=1, seed=seed + 1)
    given = {"out": folder / "prediction", "device": resolve(device), "fresh": True}
    answers, failed = step("predict", predict_all, [new / "patient-0001" / "ct"], predictor, **given)
    check(not failed, f"the prediction for the new patient failed: {', '.join(one['reason'] for one in failed)}")
    page = folder / "prediction" / answers[0]["scan"] / "prediction.html"
    return {
        "report": report["report"],
        "results": results,
        "seconds": seconds,
        "predictor": str(predictor),
        "prediction": str(page),
    }


def check_layers(layers: tuple[str, ...]) -> None:
    """Raises InputError if the network that the demo trains does not have one of these layers."""
    import torch

    from ildfv.train.activations import Activations
    from ildfv.train.networks import build
    from ildfv.train.settings import TrainSettings

    with torch.device("meta"):  # only shapes are needed, not weights
        network = build(TrainSettings.network)
        for layer in layers:
            Activations(network, layer)
