"""Runs experiments by name on a workspace, or on phantoms created for them, and writes results and page."""

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
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.regress import ridge_penalty
from ildfv.pipeline.workspace import SETTINGS
from ildfv.progress import SILENT, Progress
from ildfv.report.page import check_page
from ildfv.scans.prepared_lungs import refuse_unknown_lungs
from ildfv.store.checksummed import write_checksummed
from ildfv.store.lock import writing
from ildfv.version import versions

TIMES = "times.json"  # in experiments/<key>/: seconds of each experiment and preset
PHANTOMS = "ildfv-experiments"  # the folder of phantoms if there is no workspace
OTHER_SEED = 1  # seed of the phantoms of the second workspace, which must be different patients from those of seed 0


def run_experiments(
    names: Sequence[str],
    *,
    preset: Preset,
    workspace: Path | None = None,
    other: Path | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict:
    """{"workspace", "page", "experiments": list of `ExperimentDocument`}.

    workspace: None uses the one in the current folder or, if there is none, creates one of phantoms in
    ildfv-experiments/. other: the workspace of the experiment transfer; None: if phantoms are created, others that are
    easy.
    InputError: an experiment that is impossible with these slices; it is raised after all others are finished.
    """
    wanted = chosen(names)
    refuse_unknown(preset)
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
    check(not refused, f"{'; '.join(refused)}; results of the others are in {page.resolve()}")
    return {"workspace": str(context.workspace.root), "page": str(page.resolve()), "experiments": done}


def refuse_unknown(preset: Preset) -> None:
    """InputError or MissingPackageError before anything is computed: unknown lung mask, network or ridge penalty."""
    from ildfv.train.networks import NETWORKS, build, check_whole_slices

    refuse_unknown_lungs(preset.lungs)
    ridge_penalty(preset.ridge)
    for name in (preset.network, *preset.networks):
        check_whole_slices(name)
        if name not in NETWORKS:  # building it checks that its package has a network of that name
            build(name)


def run_one(context: Context, experiment: Experiment) -> ExperimentDocument:
    """The experiment's document, also written to results/experiments/."""
    clock, name = Clock(context.folder / TIMES), f"{context.preset.name}/{experiment.name}"
    with clock.running(name) as context.made:
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
    """What the intervals of the comparisons cover, if there are any."""
    if not found.compared:
        return []
    if preset.seeds == 1:
        return [
            "Every system was fitted with one seed: intervals and p values of differences cover the variation between "
            "patients, but not that between fits, which can be as large."
        ]
    return [
        f"Differences are means over {preset.seeds} seeds of network, encoder and choice of descriptors; their "
        "intervals and t tests include the variation over seeds. All other numbers are of the first seed."
    ]


def home(workspace: Path | None, preset: Preset, progress: Progress) -> tuple[Path, bool]:
    """The given workspace, that of the current folder, or one of phantoms; and whether it is that of phantoms."""
    if workspace is not None:
        return Path(workspace), False
    if Path(SETTINGS).exists():
        return Path("."), False
    return phantoms(preset, preset.difficulty, progress), True


def phantoms(preset: Preset, difficulty: str, progress: Progress, *, seed: int = 0) -> Path:
    """The workspace of generated phantoms in the current folder, created or completed now."""
    from ildfv.phantom import write_phantoms

    of = "-other" if seed == OTHER_SEED else ""
    scans, root = (Path(PHANTOMS) / f"{name}-{preset.name}{of}" for name in ("scans", "workspace"))
    if not (root / "prepare.json").exists():
        progress.note(f"No workspace here: {difficulty} phantoms of {preset.patients} patients in {scans}/")
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
