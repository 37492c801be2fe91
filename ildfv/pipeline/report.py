"""Everything a workspace has found, gathered for the report page."""

from __future__ import annotations

from datetime import datetime
from itertools import combinations
from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.evaluation.results import Predictions, compare
from ildfv.evaluation.thresholds import Decisions
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.split import labelled_presence, load_folds
from ildfv.pipeline.tables import slice_statistics
from ildfv.pipeline.workspace import Workspace
from ildfv.report.content import Call, Example, ReportContent, choose_examples
from ildfv.report.figures import number
from ildfv.report.page import check_page, write_report
from ildfv.scans.windows import NORMAL
from ildfv.store.atomic import key_of, sha256
from ildfv.store.checksummed import read_sealed
from ildfv.version import versions

RESAMPLES = 2000


def make_report(root: Path, to: Path | None = None, *, seconds: dict[str, float] | None = None) -> dict:
    """{"report": path of the page, "results": its documents}; report.html in the workspace unless `to` is given."""
    workspace = Workspace.open(root)
    to = workspace.root / "report.html" if to is None else to
    check_page(to)
    slices = workspace.slices()
    folds = load_folds(workspace).table() if workspace.folds_file.exists() else []
    found = {name: d for name, d in workspace.results().items() if d.get("kind") == "ildfv results"}
    now = {"slices": slices.key, "folds": sha256(workspace.folds_file) if folds else None}
    current = {
        name: d
        for name, d in found.items()
        if all(d["settings"].get(k) == v for k, v in now.items()) and d["threshold"] == workspace.settings.threshold
    }
    stale = sorted(found.keys() - current.keys())
    notes = [
        f"{name} was scored on other slices or folds, or with another threshold, than the workspace now holds: left out"
        for name in stale
    ]
    experiments = list(experiment_documents(workspace, slices).values())
    if not current and not experiments:
        notes.append("No system has been scored yet: `ildfv train`, or `ildfv encode` and `ildfv regress`.")
    predictions = {name: _predictions(workspace, slices, name, d) for name, d in current.items()}
    content = ReportContent(
        data=slices.data,
        statistics=slice_statistics(root),
        folds=folds,
        results=list(current.values()),
        comparisons=_comparisons(list(predictions.values()), workspace.settings.seed),
        examples=_examples(workspace, slices, predictions),
        experiments=experiments,
        settings={
            "workspace": shown_settings(workspace),
            "systems": {name: _settings(d) for name, d in current.items()},
        },
        versions=versions(),
        seconds=seconds or {},
        notes=notes,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
    path = write_report(to, content)
    return {"report": str(path.resolve()), "results": list(current.values()), "notes": notes}


def experiment_documents(workspace: Workspace, slices: Slices) -> dict[str, dict]:
    """What `ildfv experiment` left in results/experiments/, by name, of these slices and folds only."""
    if not workspace.folds_file.exists():
        return {}
    found = {path.stem: read_sealed(path) for path in sorted((workspace.results_dir / "experiments").glob("*.json"))}
    now = key_of(slices.key, sha256(workspace.folds_file))
    return {name: d for name, d in found.items() if d.get("kind") == "ildfv experiment" and d.get("key") == now}


def shown_settings(workspace: Workspace) -> dict:
    """The workspace's settings, but for the salt, and for the number of folds: a table shows those it has."""
    return workspace.settings.model_dump(exclude={"salt", "folds"})


def _settings(document: dict) -> dict:
    """What made a result, without what stands elsewhere on the page."""
    return {name: value for name, value in document["settings"].items() if name not in ("versions", "slices")}


def _predictions(workspace: Workspace, slices: Slices, name: str, document: dict) -> tuple[np.ndarray, Predictions]:
    """The slices a system was scored on, and its predictions there."""
    indices, scores = read_scores(workspace, name, document)
    fold = document["fold"]
    predictions = Predictions(
        system=document["system"],
        fold=fold,
        scores=scores,
        presence=labelled_presence(slices, indices, document["threshold"]),
        patients=slices.patients[indices],
        decisions=Decisions.from_dict(document["decisions"][str(fold)]),
    )
    return indices, predictions


def _comparisons(found: list[tuple[np.ndarray, Predictions]], seed: int) -> list[dict]:
    """Paired tests between every two systems scored on the same slices of one fold."""
    return [
        compare(a, b, n_resamples=RESAMPLES, seed=seed)
        for (rows_a, a), (rows_b, b) in combinations(found, 2)
        if a.fold == b.fold and np.array_equal(rows_a, rows_b)
    ]


def _examples(workspace: Workspace, slices: Slices, found: dict[str, tuple[np.ndarray, Predictions]]) -> list[Example]:
    """Slices right and wrong by the system of highest mean AUC, with what every system of that fold says of them."""
    if not found:
        return []
    results = workspace.results()
    best = max(found, key=lambda name: results[name]["overall"]["mean_auc"] or 0.0)
    indices, judge = found[best]
    systems = [judge] + [p for rows, p in found.values() if p is not judge and np.array_equal(rows, indices)]
    return example_slices(slices, indices, systems, seed=workspace.settings.seed)


def example_slices(slices: Slices, indices: np.ndarray, systems: list[Predictions], *, seed: int) -> list[Example]:
    """Slices right and wrong by the first of `systems`, with what each of them, all scored on `indices`, says."""
    judge = systems[0]
    chosen = choose_examples(judge.presence, judge.decisions.predict(judge.scores), seed=seed)
    examples = []
    for row in [*chosen["right"], *chosen["wrong"]]:
        index = indices[row]
        calls = [Call(s.system, _called(s, row), s.scores[row].tolist()) for s in systems]
        examples.append(
            Example(
                image=slices.images([index])[0, NORMAL],
                truth=(judge.presence[row] > 0).tolist(),
                calls=calls,
                labels=slices.label_maps([index])[0],
                caption=f"patient {slices.patients[index][:6]}, {number(slices.positions[index], 0)} mm",
            )
        )
    return examples


def _called(predictions: Predictions, row: int) -> list[bool | None]:
    """Which patterns are called on a slice; None where there is no threshold to call them by."""
    called = predictions.decisions.predict(predictions.scores[row : row + 1])[0].tolist()
    thresholds = predictions.decisions.thresholds
    return [None if threshold is None else one for one, threshold in zip(called, thresholds, strict=True)]
