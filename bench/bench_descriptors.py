"""What all descriptors buy over the paper's random third and over 1 %, and how few passes over them are enough.

    python -m bench.bench_descriptors [--workspace STUDY | --patients 120] [--preset small] [--components 32]
        [--only passes] [--states 20]

shares: mixtures of the preset's dense layer learned from 1 %, a third and all of the training descriptors, by up to 100
passes of exact EM from the same STARTS starts, as other starts differ by more than shares do. Their mean log likelihood
(nats a descriptor) on all descriptors of the held-out slices, and the mean AUC of the regression on the encodings of
`ildfv experiment size`, with 95 % intervals by patient; and what all gain, paired by patient.
passes: training log likelihood after 1, 2, 3 passes of stepwise EM, each run to its end, beside exact EM pass by pass
until it gains less than 1e-4 or made 100 passes, from its own start and from that of stepwise EM; from so many random
states, as optima differ. Networks and encodings are made now if they are not there.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

PASSES, LONGEST = (1, 2, 3), 100
STARTS = 3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--workspace", type=Path, help="default: here, else phantoms made for it")
    options.add_argument("--patients", type=int, help="phantoms made where no workspace is, default: the preset's")
    options.add_argument("--preset", default="small")
    options.add_argument("--components", type=int, help="of the mixtures, default: the preset's")
    options.add_argument("--only", choices=list(PARTS), help="default: both")
    options.add_argument("--states", type=int, default=20, help="random states of passes")
    options.add_argument("--out", type=Path, help="default: bench/results/descriptors-DATE.json, or passes, shares")
    given = options.parse_args()
    from bench.bench_scale import machine
    from ildfv.experiments.context import Context
    from ildfv.experiments.presets import preset_named
    from ildfv.experiments.run import home
    from ildfv.progress import SILENT

    preset = preset_named(given.preset)
    if given.patients:
        preset = replace(preset, name=f"{preset.name}-{given.patients}", patients=given.patients)
    if given.components:
        preset = replace(preset, components=given.components)
    warnings.simplefilter("ignore")  # that passes end before convergence is what is asked for
    context = Context(home(given.workspace, preset, SILENT)[0], preset)
    found = {
        "what": __doc__.splitlines()[0],
        "date": date.today().isoformat(),
        "machine": machine(),
        "data": context.slices.data,
        "preset": preset.name,
        "layer": preset.dense_layer,
        "components": preset.components,
        "slices": len(context.slices),
        "patients": len(np.unique(context.slices.patients)),
        **{name: measure(context, given) for name, measure in PARTS.items() if given.only in (None, name)},
    }
    out = given.out or Path(__file__).parent / "results" / f"{given.only or 'descriptors'}-{found['date']}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    print(out)


def passes(context, given: argparse.Namespace) -> dict:
    """Curves of the mean training log likelihood over passes, on the fold held out first."""
    from ildfv.streaming.maps import MapStream, batches

    indices = context.split(context.held_out()[0]).train
    layer = layer_of(context, context.held_out()[0])
    kept = np.concatenate(
        list(MapStream(context.slices, layer, batches(context.slices, indices)))
    )  # read a thousand times
    curves = {
        seed: curve(kept, n_components=context.preset.components, random_state=seed) for seed in range(given.states)
    }
    return {
        "seeds": curves,
        "stepwise_short_percent": {
            peer: {n: spread([found[peer]["stepwise_short_percent"][n] for found in curves.values()]) for n in PASSES}
            for peer in ("exact", "exact_from_stepwise_start")
        },
    }


def spread(values: list[float]) -> dict:
    return {"median": float(np.median(values)), "worst": max(values), "above_0.1": sum(value > 0.1 for value in values)}


def curve(maps: np.ndarray, **settings) -> dict:
    """The mean log likelihood after 1, 2, 3 stepwise passes, and of exact EM pass by pass, all from one random state.

    Exact EM begins at its own start, as `method="exact"` does, and again at the one that stepwise EM makes on a sample.
    Stepwise EM makes about as many steps a pass as in `ildfv encode`, fewer than it would make of the array itself.
    """
    from ildfv import GaussianMixture
    from ildfv.pipeline.mixture import STEPS

    steps = [[step] for step in np.array_split(maps, min(STEPS, len(maps)))]
    begun = GaussianMixture(max_iter=0, method="stepwise", **settings).fit(maps)
    start = {"weights_init": begun.weights_, "means_init": begun.means_, "variances_init": begun.variances_}

    def reached(n: int) -> float:
        alone = {"reduce": lambda sums: sums, "gather": lambda items: [items]}  # one rank of one
        mixture = GaussianMixture(max_iter=n, tol=0, method="stepwise", **settings, **start, **alone)
        return mixture.fit(lambda: iter(steps)).score(maps)

    stepwise = {n: reached(n) for n in PASSES}
    found: dict = {"stepwise": stepwise, "stepwise_start": begun.score(maps)}
    for name, more in (("exact", {}), ("exact_from_stepwise_start", start)):
        exact = GaussianMixture(max_iter=LONGEST, **settings, **more).fit(maps)
        full = exact.score(maps)
        found[name] = {
            # What a pass reports holds before its step, so pass t + 1 tells what t passes reached.
            "curve": [*exact.log_likelihoods_[1:].tolist(), full],
            "full": full,
            "passes": exact.n_iter_,
            "stepwise_short_percent": {n: 100 * (full - likelihood) / abs(full) for n, likelihood in stepwise.items()},
        }
    return found


def shares(context, given: argparse.Namespace) -> dict:
    """Held-out log likelihood and AUC by share of the descriptors, and what they differ by from all."""
    from ildfv.evaluation.intervals import Ratio, bootstrap, paired, resampled
    from ildfv.experiments.results import compare, documents
    from ildfv.experiments.size import SHARES

    layer, seed = context.preset.dense_layer, context.workspace.settings.seed
    base = context.cnn("CNN, all patients", keep_weights=True)
    systems = {
        name: context.encoded(f"{layer}, {name}", layer, network=base, descriptors=share)
        for name, share in SHARES.items()
    }
    sums = held_out(context, SHARES)
    every = max(SHARES, key=SHARES.get)
    whole = Ratio(*sums[every])
    weights = resampled(len(whole.numerator), context.preset.resamples, seed=seed)
    found = {}
    for name, system in systems.items():
        measure = Ratio(*sums[name])
        overall = documents(context, system)["pooled"].overall
        found[name] = {
            "held_out_log_likelihood": float(measure(np.ones((1, weights.shape[1])))[0]),
            "held_out_log_likelihood_interval": bootstrap(measure, weights),
            "mean_auc": overall.mean_auc,
            "mean_auc_interval": overall.mean_auc_interval,
        }
        if name != every:
            options = {"n_resamples": context.preset.resamples, "seed": seed}
            found[name]["log_likelihood_all_gains"] = paired(whole, measure, weights.shape[1], **options).to_dict()
            found[name]["mean_auc_all_gains"] = compare(context, systems[every], system).tests["mean_auc"].to_dict()
    return found


def held_out(context, shares: dict[str, float]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each share (log likelihood, descriptors) of every held-out patient, (P,) and (P,), mean over the starts."""
    from ildfv import GaussianMixture, moments
    from ildfv.estimators.start import sample_size, start
    from ildfv.experiments.thinned import Thinned
    from ildfv.streaming.maps import MapStream, batches

    rows: dict[str, list] = {name: [] for name in shares}
    k, seed = context.preset.components, context.workspace.settings.seed
    for fold in context.held_out():
        activations, roles = layer_of(context, fold), context.split(fold)
        train = MapStream(context.slices, activations, batches(context.slices, roles.train))
        test = MapStream(context.slices, activations, batches(context.slices, roles.test))
        sample = train.sample(sample_size(k, activations.d), seed)
        starts = [start(sample, k, seed=seed + number) for number in range(STARTS)]
        spread = sample.var(axis=0, dtype=np.float64)
        floor = 1e-4 * np.where(spread > 0, spread, spread.mean())  # dead ReLU units have no variance of their own
        patients = context.slices.patients[roles.test]
        for name, share in shares.items():
            layer = activations if share == 1 else Thinned(activations, share, seed)
            kept = list(MapStream(context.slices, layer, train.batches))  # in memory: each of 100 passes reads it again
            values = np.zeros(len(roles.test))
            for at in starts:
                variances = np.maximum(at.variances_, floor)
                given = {"weights_init": at.weights_, "means_init": at.means_, "variances_init": variances}
                mixture = GaussianMixture(k, max_iter=LONGEST, **given).fit(kept)
                values += np.concatenate([np.asarray(moments(maps, mixture).log_likelihood) for maps in test])
            for p in np.unique(patients):
                mine = patients == p
                rows[name].append((values[mine].sum() / STARTS, activations.n * mine.sum()))
    return {name: tuple(np.array(found, dtype=float).T) for name, found in rows.items()}


def layer_of(context, fold: int):
    """The dense layer of the network that was trained without the fold."""
    from ildfv.experiments.fitted import network
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    folder = network(context, context.cnn("CNN, all patients", keep_weights=True), fold)
    return Activations(load(folder, context.device), context.preset.dense_layer)


PARTS = {"passes": passes, "shares": shares}


if __name__ == "__main__":
    main()
