"""The gain of all descriptors over the paper's random third and over 1 %, and the number of EM passes that suffices.

    python -m bench.bench_descriptors [--workspace STUDY | --patients 120] [--preset small] [--components 32]
        [--only passes | likelihood | shares] [--seeds 3] [--quick] [--third] [--states 20]

shares: mean AUC of the regression on encodings of the preset's dense layer with 1 %, a third and all of the
descriptors, and the mean gain of using all of them, over SEEDS seeds of network, mixture and choice of descriptors. The
variance of the gain is the variance between patients plus the variance over seeds divided by the number of seeds.
--third omits 1 %; --quick trains for one epoch and makes two EM passes.
likelihood: mean log likelihood (nats per descriptor) of the descriptors of held-out slices under mixtures fitted to
these shares by up to 100 passes of exact EM, from the same STARTS initial mixtures. Gains are averaged over the initial
mixtures, as they are over the seeds in `shares`.
passes: training log likelihood after complete fits of 1, 2 and 3 passes of stepwise EM, and after every pass of exact
EM until a pass gains less than 1e-4 or 100 passes are made. Exact EM starts from its own initial mixture and from that
of stepwise EM. Several random states are used, because their optima differ.
Networks and encodings that do not exist are created.
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
    options.add_argument("--workspace", type=Path, help="default: the current folder, else new phantoms")
    options.add_argument("--patients", type=int, help="number of new phantoms if there is no workspace")
    options.add_argument("--preset", default="small")
    options.add_argument("--components", type=int, help="components per mixture; default: that of the preset")
    options.add_argument("--seeds", type=int, default=3, help="number of seeds of all random choices")
    options.add_argument("--quick", action="store_true", help="train for one epoch and make two EM passes")
    options.add_argument("--third", action="store_true", help="omit the share of 1 %%")
    options.add_argument("--only", choices=list(PARTS), help="default: all")
    options.add_argument("--states", type=int, default=20, help="number of random states for passes")
    options.add_argument("--out", type=Path, help="default: bench/results/descriptors-DATE.json, or PART-DATE.json")
    given = options.parse_args()
    from bench.machine import machine
    from ildfv.experiments.context import Context
    from ildfv.experiments.presets import preset_named
    from ildfv.experiments.run import home
    from ildfv.progress import SILENT

    preset = preset_named(given.preset)
    if given.patients:
        preset = replace(preset, name=f"{preset.name}-{given.patients}", patients=given.patients)
    if given.components:
        preset = replace(preset, components=given.components)
    preset = replace(preset, seeds=given.seeds)
    if given.quick:
        preset = replace(preset, name=f"{preset.name}-quick", train={**preset.train, "epochs": 1}, passes=2)
    warnings.simplefilter("ignore")  # fits of a fixed number of passes do not converge
    context = Context(home(given.workspace, preset, SILENT)[0], preset)
    found = {
        "what": __doc__.splitlines()[0],
        "date": date.today().isoformat(),
        "machine": machine(),
        "data": context.slices.data,
        "preset": preset.name,
        "layer": preset.dense_layer,
        "components": preset.components,
        "epochs": preset.train["epochs"],
        "em_passes": preset.passes,
        "seeds": preset.seeds,
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
    """Curves of the mean training log likelihood over passes, for the first held-out fold."""
    from ildfv.streaming.maps import MapStream, batches

    indices = context.split(context.held_out()[0]).fit
    layer = layer_of(context, context.held_out()[0])
    # In memory, because all curves together read the maps a thousand times.
    kept = np.concatenate(list(MapStream(context.slices, layer, batches(context.slices, indices))))
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
    """The mean log likelihood after 1, 2, 3 stepwise passes and after each pass of exact EM, for one random state.

    Exact EM is run from its own initial mixture, as with `method="exact"`, and from the one that stepwise EM computes
    on a sample. Stepwise EM takes about as many steps per pass as in `ildfv encode`, fewer than it would for an array.
    """
    from ildfv import GaussianMixture
    from ildfv.pipeline.mixture import STEPS

    steps = [[step] for step in np.array_split(maps, min(STEPS, len(maps)))]
    initial = GaussianMixture(max_iter=0, method="stepwise", **settings).fit(maps)
    start = {"weights_init": initial.weights_, "means_init": initial.means_, "variances_init": initial.variances_}

    def reached(n: int) -> float:
        alone = {"reduce": lambda sums: sums, "gather": lambda items: [items]}  # a single rank
        mixture = GaussianMixture(max_iter=n, tol=0, method="stepwise", **settings, **start, **alone)
        return mixture.fit(lambda: iter(steps)).score(maps)

    stepwise = {n: reached(n) for n in PASSES}
    found: dict = {"stepwise": stepwise, "stepwise_start": initial.score(maps)}
    for name, more in (("exact", {}), ("exact_from_stepwise_start", start)):
        exact = GaussianMixture(max_iter=LONGEST, **settings, **more).fit(maps)
        full = exact.score(maps)
        found[name] = {
            # A pass reports the likelihood before its M step, so pass t + 1 reports the result of t passes.
            "curve": [*exact.log_likelihoods_[1:].tolist(), full],
            "full": full,
            "passes": exact.n_iter_,
            "stepwise_short_percent": {n: 100 * (full - likelihood) / abs(full) for n, likelihood in stepwise.items()},
        }
    return found


def likelihood(context, given: argparse.Namespace) -> dict:
    """Held-out log likelihood by share of the descriptors, and the gain of all of them, as means over the starts."""
    from ildfv.evaluation.intervals import confidence, paired_over_seeds, resampled
    from ildfv.evaluation.measures import Ratio
    from ildfv.experiments.size import SHARES

    sums, seed = held_out(context, SHARES), context.workspace.settings.seed
    every = max(SHARES, key=SHARES.get)
    n = len(sums[every][0][0])
    weights, found = resampled(n, context.preset.resamples, seed=seed), {}
    for name in SHARES:
        mean = Ratio(np.mean([values for values, _ in sums[name]], axis=0), sums[name][0][1])
        found[name] = {
            "held_out_log_likelihood": float(mean(np.ones((1, n)))[0]),
            "held_out_log_likelihood_interval": confidence(mean, weights, proportion=False),
        }
        if name != every:
            pairs = [(Ratio(*a), Ratio(*b)) for a, b in zip(sums[every], sums[name], strict=True)]
            options = {"n_resamples": context.preset.resamples, "seed": seed, "proportion": False}
            found[name]["log_likelihood_all_gains"] = paired_over_seeds(pairs, n, **options).to_dict()
    return found


def shares(context, given: argparse.Namespace) -> dict:
    """Mean AUC by share of the descriptors for each seed, and the mean gain of all descriptors.

    A seed determines the network, the initial mixture and which descriptors are discarded.
    """
    from ildfv.experiments.results import compare
    from ildfv.experiments.size import SHARES

    layer, base = context.preset.dense_layer, context.cnn("CNN, all patients", keep_weights=True)
    wanted = {name: share for name, share in SHARES.items() if not given.third or share > 0.1}
    systems = {
        name: context.encoded(f"{layer}, {name}", layer, network=base, descriptors=share)
        for name, share in wanted.items()
    }
    every = max(wanted, key=wanted.get)
    aucs = {name: mean_aucs(context, system) for name, system in systems.items()}
    found = {name: {"mean_auc": float(np.mean(each)), "mean_auc_by_seed": each} for name, each in aucs.items()}
    for name, system in systems.items():
        if name != every:
            test = compare(context, systems[every], system)
            found[name] |= {
                "mean_auc_all_gains": test.tests["mean_auc"].to_dict(),
                "mean_auc_all_gains_by_seed": [a - b for a, b in zip(aucs[every], aucs[name], strict=True)],
                "held_out_patients": test.n_patients,
            }
    return found


def mean_aucs(context, system) -> list[float]:
    """The pooled mean AUC of the system under each seed."""
    from ildfv.evaluation.results import evaluate
    from ildfv.experiments.results import predictions

    options = {"data": context.slices.data, "threshold": context.base.threshold, "n_resamples": 2}
    return [
        evaluate(predictions(context, system.reseeded(number)), **options).overall.mean_auc
        for number in range(context.preset.seeds)
    ]


def held_out(context, shares: dict[str, float]) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """For each share and start: (log likelihood (P,), number of descriptors (P,)) of every held-out patient."""
    from ildfv import GaussianMixture, moments
    from ildfv.estimators.start import sample_size, start
    from ildfv.experiments.thinned import Thinned
    from ildfv.streaming.maps import MapStream, batches

    rows: dict[str, list[list]] = {name: [[] for _ in range(STARTS)] for name in shares}
    k, seed = context.preset.components, context.workspace.settings.seed
    for fold in context.held_out():
        activations, roles = layer_of(context, fold), context.split(fold)
        fit = MapStream(context.slices, activations, batches(context.slices, roles.fit))
        test = MapStream(context.slices, activations, batches(context.slices, roles.test))
        sample = fit.sample(sample_size(k, activations.d), seed)
        starts = [start(sample, k, seed=seed + number) for number in range(STARTS)]
        spread = sample.var(axis=0, dtype=np.float64)
        floor = 1e-4 * np.where(spread > 0, spread, spread.mean())  # dead ReLU units have no variance
        patients = context.slices.patients[roles.test]
        for name, share in shares.items():
            layer = activations if share == 1 else Thinned(activations, share, seed)
            kept = list(MapStream(context.slices, layer, fit.batches))  # each of 100 passes reads them again
            for number, at in enumerate(starts):
                variances = np.maximum(at.variances_, floor)
                given = {"weights_init": at.weights_, "means_init": at.means_, "variances_init": variances}
                mixture = GaussianMixture(k, max_iter=LONGEST, **given).fit(kept)
                values = np.concatenate([np.asarray(moments(maps, mixture).log_likelihood) for maps in test])
                for p in np.unique(patients):
                    mine = patients == p
                    rows[name][number].append((values[mine].sum(), activations.n * mine.sum()))
    return {name: [tuple(np.array(one, dtype=float).T) for one in found] for name, found in rows.items()}


def layer_of(context, fold: int):
    """The dense layer of the network that was trained without the fold."""
    from ildfv.experiments.fitted import network
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    folder = network(context, context.cnn("CNN, all patients", keep_weights=True), fold)
    return Activations(load(folder, context.device), context.preset.dense_layer)


PARTS = {"passes": passes, "likelihood": likelihood, "shares": shares}


if __name__ == "__main__":
    main()
