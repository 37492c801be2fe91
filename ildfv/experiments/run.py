"""Runs experiments on a workspace, or on phantoms that are created for them, and writes their results and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ildfv.errors import InputError, MissingPackageError, check
from ildfv.evaluation.documents import Results
from ildfv.evaluation.results import undecided
from ildfv.experiments import results, transfer
from ildfv.experiments.checklist import checklist
from ildfv.experiments.context import Context
from ildfv.experiments.documents import EXPERIMENT, ExperimentDocument, SystemResults
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.page import FILE, write_page
from ildfv.experiments.preset_views import by_preset, documents
from ildfv.experiments.presets import Preset
from ildfv.experiments.registry import chosen
from ildfv.experiments.schema import FOLDER, write_experiment
from ildfv.phantom.patient import EASY
from ildfv.pipeline.clock import Clock
from ildfv.pipeline.demo import SALT
from ildfv.pipeline.location import SETTINGS
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.regress import ridge_penalty
from ildfv.progress import SILENT, Progress
from ildfv.report.page_file import check_page
from ildfv.scans.prepared_lungs import refuse_unknown_lungs
from ildfv.store.checksummed import write_checksummed
from ildfv.store.lock import writing
from ildfv.version import versions

TIMES = "times.json"  # file in experiments/<key>/ with the seconds of each experiment and preset
PHANTOMS = "ildfv-experiments"  # folder of the phantoms that are created if there is no workspace
OTHER_SEED = 1  # seed of the phantoms of the second workspace, so that its patients differ from those of seed 0


def run_experiments(
    names: Sequence[str],
    *,
    preset: Preset,
    workspace: Path | None = None,
    other: Path | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict:
    """Runs experiments and returns {"workspace": path, "page": path, "experiments": list of `ExperimentDocument`}.

    workspace: None for the workspace in the current folder or, if there is none, for a new workspace of phantoms in
    ildfv-experiments/. other: the second workspace of the experiment `transfer`. If it is None and phantoms are
    created, a second workspace of easy phantoms is created too.

    InputError: a name, the preset, a workspace or the existing page is not valid, or an experiment is impossible with
    these slices or the installed packages. In the last case, it is raised after all other experiments are finished.
    MissingPackageError: a network or the lung mask of the preset needs a package that is not installed.
    """
    wanted = chosen(names)
    check_preset(preset)
    root, created = home(workspace, preset, progress)
    check_page(root / FILE)
    if other is None and created and any(one.name == transfer.EXPERIMENT.name for one in wanted):
        other = phantoms(preset, EASY, progress, seed=OTHER_SEED)
    context = Context(root, preset, other=other, device=device, progress=progress)
    with writing(context.workspace.root / "experiments"):
        done, refused = [], []
        for experiment in wanted:
            progress.note(f"{experiment.name}: {experiment.title}")
            try:
                done.append(run_one(context, experiment))
            except (InputError, MissingPackageError) as error:
                refused.append(f"{experiment.name}: {error}")
        check(bool(done), "; ".join(refused))
        content = checklist(by_preset(context, documents(context)))
        write_checksummed(context.workspace.results_dir / FOLDER / "checklist.json", content.to_dict())
        page = write_page(context)
    check(not refused, f"{'; '.join(refused)}; the results of the other experiments are in {page.resolve()}")
    return {"workspace": str(context.workspace.root), "page": str(page.resolve()), "experiments": done}


def check_preset(preset: Preset) -> None:
    """Raises InputError or MissingPackageError if the lung mask, a network or the ridge penalty is not valid.

    It is called before anything is computed.
    """
    from ildfv.train.networks import NETWORKS, build, check_whole_slices

    refuse_unknown_lungs(preset.lungs)
    ridge_penalty(preset.ridge)
    for name in (preset.network, *preset.networks):
        check_whole_slices(name)
        if name not in NETWORKS:  # building the network checks that its package has a network of that name
            build(name)


def run_one(context: Context, experiment: Experiment) -> ExperimentDocument:
    """Runs an experiment, writes its document to results/experiments/ and returns it."""
    clock, name = Clock(context.folder / TIMES), f"{context.preset.name}/{experiment.name}"
    with clock.running(name) as context.record_time:
        found = experiment.run(context)
        document = describe(context, experiment, found)
    document = document.model_copy(update={"seconds": round(clock.seconds[name], 1)})
    write_experiment(context.workspace, document, found.files)
    return document


def describe(context: Context, experiment: Experiment, found: Findings) -> ExperimentDocument:
    """The experiment's document without `seconds`."""
    systems: dict[str, SystemResults] = {}
    whole: list[Results] = []
    otherwise = context.held_out() if found.folds is None else list(found.folds)
    for system in found.systems:
        d = results.documents(context, system)
        systems[system.label] = SystemResults(
            folder=system.folder,
            threshold=system.threshold,
            folds=d["pooled"].folds,
            inputs=system.inputs,
            pooled=d["pooled"].without_curves(),
            spread=d["spread"],
        )
        whole += [d["pooled"], *d["folds"]]
    gaps = (f"{line}." for system in systems.values() for line in undecided(system.pooled))
    curves: dict[str, Any] = {"documents": whole} if experiment.name == "curves" else {}
    return ExperimentDocument(
        kind=EXPERIMENT,
        version=2,
        name=experiment.name,
        title=experiment.title,
        paper=experiment.paper,
        preset=context.preset.name,
        extent=context.preset.extent,
        data=context.slices.data,
        slices=context.slices.key,
        key=context.key,
        folds=sorted({fold for system in systems.values() for fold in system.folds}) or otherwise,
        n_folds=context.folds.n_folds,
        tables=list(found.tables),
        systems=systems,
        comparisons=[results.compare(context, a, b) for a, b in found.compared],
        notes=[*found.notes, *context.remarks, *_seeds_note(context.preset, found), *dict.fromkeys(gaps)],
        charts=list(found.charts),
        files=list(found.files),
        versions=versions(),
        **curves,
    )


def _seeds_note(preset: Preset, found: Findings) -> list[str]:
    """A note that states which variation the intervals of the comparisons include; [] without comparisons."""
    if not found.compared:
        return []
    if preset.seeds == 1:
        return [
            "Every system was fitted with one seed. Intervals and p values of differences cover the variation between "
            "patients but not the variation between fits, which can be equally large."
        ]
    return [
        f"Differences are means over {preset.seeds} seeds of network, encoder and choice of descriptors. Their "
        "intervals and t tests include the variation over seeds. All other numbers are from the first seed."
    ]


def home(workspace: Path | None, preset: Preset, progress: Progress) -> tuple[Path, bool]:
    """(the given workspace, the one in the current folder, or a new one of phantoms; whether it is the last)."""
    if workspace is not None:
        return Path(workspace), False
    if Path(SETTINGS).exists():
        return Path("."), False
    return phantoms(preset, preset.difficulty, progress), True


def phantoms(preset: Preset, difficulty: str, progress: Progress, *, seed: int = 0) -> Path:
    """The workspace of generated phantoms in the current folder, which is created or completed if necessary."""
    from ildfv.phantom import write_phantoms

    of = "-other" if seed == OTHER_SEED else ""
    scans, root = (Path(PHANTOMS) / f"{name}-{preset.name}{of}" for name in ("scans", "workspace"))
    if not (root / "prepare.json").exists():
        progress.note(
            f"no workspace in the current folder: writing {preset.patients} phantoms of difficulty "
            f"{difficulty} to {scans}/"
        )
        write_phantoms(
            scans,
            patients=preset.patients,
            seed=seed,
            slices_per_scan=preset.slices_per_scan,
            difficulty=difficulty,
            progress=progress,
        )
        prepare_scans(scans, root, salt=SALT, progress=progress)
    return root
