"""Experiments by name, from a workspace or from nothing, to their results and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ildfv.errors import InputError, MissingPackageError, check
from ildfv.evaluation.results import undecided
from ildfv.experiments.checklist import checklist
from ildfv.experiments.context import Lab
from ildfv.experiments.lungs import refuse_unknown_lungs
from ildfv.experiments.page import FILE, write_page
from ildfv.experiments.paper import NAME, NOTE
from ildfv.experiments.preset_views import by_preset, documents
from ildfv.experiments.presets import Preset
from ildfv.experiments.registry import Experiment, Findings, chosen
from ildfv.experiments.schema import FOLDER, KIND, VERSION, as_document, without_curves, write_experiment
from ildfv.pipeline.clock import Clock
from ildfv.pipeline.demo import SALT
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.workspace import SETTINGS
from ildfv.progress import SILENT, Progress
from ildfv.report.page import check_page
from ildfv.store.checksummed import write_sealed
from ildfv.store.lock import writing
from ildfv.version import versions

TIMES = "times.json"  # in experiments/<key>/: what each experiment of each preset took
PHANTOMS = "ildfv-experiments"  # the folder of phantoms where there is no workspace


def run_experiments(
    names: Sequence[str],
    *,
    preset: Preset,
    workspace: Path | None = None,
    paper: Path | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict:
    """{"workspace", "page", "experiments": documents as in `schema`}.

    workspace: None takes the one in the current folder, or, if there is none, phantoms in ildfv-experiments/, made now.
    paper: a filled copy of paper.toml, whose numbers are set beside ours.
    InputError: an experiment that these slices cannot answer; it is raised when the others are done and on the page.
    """
    wanted = chosen(names)
    refuse_unknown(preset)
    root = home(workspace, preset, progress)
    check_page(root / FILE)
    lab = Lab(root, preset, paper=paper, device=device, progress=progress)
    with writing(lab.workspace.root / "experiments"):
        done, refused = [], []
        for experiment in wanted:
            progress.note(f"{experiment.name}: {experiment.title}")
            try:
                done.append(run_one(lab, experiment))
            except (InputError, MissingPackageError) as error:
                refused.append(f"{experiment.name}: {error}")
        check(bool(done), "; ".join(refused))
        content = {"kind": "ildfv checklist", **checklist(by_preset(lab, documents(lab)))}
        write_sealed(lab.workspace.results_dir / FOLDER / "checklist.json", content)
        page = write_page(lab)
    check(not refused, f"{'; '.join(refused)}; the others are on {page.resolve()}")
    return {"workspace": str(lab.workspace.root), "page": str(page.resolve()), "experiments": done}


def refuse_unknown(preset: Preset) -> None:
    """Nothing if lung masks and networks can be made; else InputError, or MissingPackageError, before anything is."""
    from ildfv.train.networks import NETWORKS, build, check_whole_slices

    refuse_unknown_lungs(preset.lungs)
    for name in (preset.network, *preset.networks):
        check_whole_slices(name)
        if name not in NETWORKS:  # only its package knows whether there is one of that name
            build(name)


def run_one(lab: Lab, experiment: Experiment) -> dict:
    """The experiment's document, also in results/experiments/."""
    clock, name = Clock(lab.folder / TIMES), f"{lab.preset.name}/{experiment.name}"
    with clock.running(name) as lab.made:
        found = experiment.run(lab)
        document = describe(lab, experiment, found)
    document["seconds"] = round(clock.seconds[name], 1)
    write_experiment(lab.workspace, document, found.files)
    return document


def describe(lab: Lab, experiment: Experiment, found: Findings) -> dict:
    """The document of `schema`, but for the time it took."""
    systems, whole = {}, []
    theirs = [row for table in found.tables for row in table.rows if row[1] == NAME]
    unknown = any(None in row[3:] for row in theirs)
    otherwise = lab.held_out() if found.folds is None else list(found.folds)
    for system in found.systems:
        d = lab.documents(system)
        systems[system.label] = {
            "folder": system.folder,
            "threshold": system.threshold,
            "folds": d["pooled"]["folds"],
            "inputs": system.inputs,
            "pooled": without_curves(d["pooled"]),
            "spread": d["spread"],
        }
        whole += [d["pooled"], *d["folds"]]
    gaps = (f"{line}." for system in systems.values() for line in undecided(system["pooled"]))
    return {
        "kind": KIND,
        "version": VERSION,
        "name": experiment.name,
        "title": experiment.title,
        "paper": experiment.paper,
        "preset": lab.preset.name,
        "extent": lab.preset.extent,
        "data": lab.slices.data,
        "slices": lab.slices.key,
        "key": lab.key,
        "folds": sorted({fold for system in systems.values() for fold in system["folds"]}) or otherwise,
        "n_folds": lab.folds.n_folds,
        "tables": [as_document(table) for table in found.tables],
        "systems": systems,
        "comparisons": [lab.compare(a, b) for a, b in found.compared],
        "notes": [*found.notes, *lab.remarks, *dict.fromkeys(gaps), *([NOTE] if unknown else ())],
        "files": list(found.files),
        "versions": versions(),
        **({"documents": whole} if experiment.name == "curves" else {}),
    }


def home(workspace: Path | None, preset: Preset, progress: Progress) -> Path:
    """The workspace named, or the one here, or one of phantoms, which is made or finished."""
    if workspace is not None:
        return Path(workspace)
    if Path(SETTINGS).exists():
        return Path(".")
    from ildfv.phantom import write_phantoms

    scans, root = (Path(PHANTOMS) / f"{name}-{preset.name}" for name in ("scans", "workspace"))
    if not (root / "prepare.json").exists():
        progress.note(f"No workspace here: phantoms of {preset.patients} patients in {PHANTOMS}/")
        write_phantoms(
            scans, patients=preset.patients, seed=0, slices_per_scan=preset.slices_per_scan, progress=progress
        )
        prepare_scans(scans, root, salt=SALT, progress=progress)
    return root
