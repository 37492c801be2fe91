"""The report of a workspace: results, comparisons, example slices, and tables from other documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.evaluation.baselines import verdicts
from ildfv.evaluation.documents import Results
from ildfv.evaluation.predictions import Predictions
from ildfv.pipeline.by_scan import unit_of
from ildfv.pipeline.kept import FINGERPRINT
from ildfv.pipeline.kinds import load_kinds
from ildfv.pipeline.pooled import pool, pooled_comparisons, pooled_results
from ildfv.pipeline.scored import Scored, baseline_notes, comparisons_by_fold, current_results, predictions_of
from ildfv.pipeline.split import load_folds
from ildfv.pipeline.tables import slice_statistics
from ildfv.pipeline.units import fold_notes
from ildfv.pipeline.workspace import Workspace
from ildfv.report.content import Example, Prediction, ReportContent, choose_examples
from ildfv.report.figures import number
from ildfv.report.page import write_report
from ildfv.report.page_file import check_page
from ildfv.scans.windows import NORMAL
from ildfv.store.atomic import key_of, sha256
from ildfv.store.checksummed import read_checksummed
from ildfv.store.kinds import document_kinds
from ildfv.version import versions


def make_report(root: Path, to: Path | None = None, *, seconds: dict[str, float] | None = None) -> dict:
    """Writes the report and returns {"report": path of the page, "results": list of `Results`, "notes": list of str}.

    to: path of the page; None for report.html in the workspace. seconds: wall time of each step, which the page shows.
    InputError: the page cannot be written there, or a file of the workspace is corrupt.
    """
    workspace = Workspace.open(root)
    to = workspace.root / "report.html" if to is None else to
    check_page(to)
    slices = workspace.slices()
    split = load_folds(workspace) if workspace.folds_file.exists() else None
    folds = [] if split is None else split.table()
    current, stale = current_results(workspace, slices)
    notes = []
    if stale:
        verb, them, they = ("are", "they were", "them") if len(stale) > 1 else ("is", "it was", "it")
        notes.append(
            f"Not shown {verb} {', '.join(stale)}, because the slices, the folds or the threshold T have changed since "
            f"{them} scored. Score {they} again."
        )
    notes += [] if split is None else [f"{line[0].upper()}{line[1:]}." for line in fold_notes(slices, split)]
    documents = list(table_documents(workspace, slices).values())
    if not current and not documents:
        notes.append("No system has been scored yet: run `ildfv train`, or `ildfv encode` and `ildfv regress`.")
    scored = {name: predictions_of(workspace, slices, name, results) for name, results in current.items()}
    systems, seed = pool(list(scored.values())), workspace.settings.seed
    pooled, comparisons = pooled_results(workspace, slices, systems), pooled_comparisons(systems, seed)
    rest = [name for name, (_, predictions) in scored.items() if predictions.system not in systems]
    single = comparisons_by_fold([scored[name] for name in rest], seed)
    notes += baseline_notes(verdicts(pooled, comparisons), [current[name] for name in rest], single)
    content = ReportContent(
        data=slices.data,
        statistics=slice_statistics(root),
        folds=folds,
        results=[*pooled, *current.values()],
        comparisons=[*comparisons, *(c for tests in single.values() for c in tests)],
        examples=_examples(workspace, slices, current, scored),
        experiments=documents,
        settings={"workspace": public_settings(workspace)},
        system_settings=_by_system(current.values()),
        versions=versions(),
        seconds=seconds or {},
        notes=notes,
        unit=unit_of(slices),
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
    path = write_report(to, content)
    return {"report": str(path.resolve()), "results": list(current.values()), "notes": notes}


def table_documents(workspace: Workspace, slices: Slices) -> dict[str, Any]:
    """The documents that the report shows as tables, by name: those made from the current slices and folds."""
    if not workspace.folds_file.exists():
        return {}
    load_kinds()
    key = key_of(slices.key, sha256(workspace.folds_file))
    kinds = [kind for kind in document_kinds() if kind.in_report]
    found = {path: kind for kind in kinds for path in sorted(workspace.root.glob(kind.pattern))}
    return {
        path.stem: kind.load(values, name=str(path))
        for path, kind in found.items()
        if (values := read_checksummed(path)).get("kind") == kind.name and values.get("key") == key
    }


def public_settings(workspace: Workspace) -> dict:
    """The workspace's settings without the salt, which is secret, and without folds, which are in another table."""
    return workspace.settings.model_dump(exclude={"salt", "folds"})


def _by_system(results: Iterable[Results]) -> dict[str, dict[int, dict]]:
    """By system and fold, the settings of the results, without those that the page shows in other tables."""
    found: dict[str, dict[int, dict]] = {}
    elsewhere = ("versions", "slices", FINGERPRINT)
    for one in results:
        settings = {name: value for name, value in one.settings.items() if name not in elsewhere}
        for fold in one.folds:
            found.setdefault(one.system, {})[fold] = settings
    return found


def _examples(
    workspace: Workspace, slices: Slices, results: dict[str, Results], scored: dict[str, Scored]
) -> list[Example]:
    """Example slices for the system with the highest mean AUC, with the predictions of all systems on these slices.

    There are none if scans are labelled as a whole.
    """
    if not scored or slices.scan_labels is not None:  # predictions of slices need labels of slices
        return []
    best = max(scored, key=lambda name: results[name].overall.mean_auc or 0.0)
    indices, reference = scored[best]
    others = [p for rows, p in scored.values() if p is not reference and np.array_equal(rows, indices)]
    return example_slices(slices, indices, [reference, *others], seed=workspace.settings.seed)


def example_slices(slices: Slices, indices: np.ndarray, systems: list[Predictions], *, seed: int) -> list[Example]:
    """Example slices that the first system predicts right or wrong. systems: predictions on the slices `indices`."""
    reference = systems[0]
    chosen = choose_examples(reference.presence, reference.decisions.predict(reference.scores), seed=seed)
    return slice_examples(slices, indices, systems, [*chosen["right"], *chosen["wrong"]])


def slice_examples(
    slices: Slices, indices: np.ndarray, systems: list[Predictions], rows: Sequence[int]
) -> list[Example]:
    """These rows of `indices` as examples, with the predictions of each system.

    The patterns that are present are read from the first system's predictions.
    """
    reference, examples = systems[0], []
    for row in rows:
        index = indices[row]
        examples.append(
            Example(
                image=slices.images([index])[0, NORMAL],
                truth=(reference.presence[row] > 0).tolist(),
                predictions=[
                    Prediction(
                        s.system, _predicted(s, row), [None if np.isnan(one) else float(one) for one in s.scores[row]]
                    )
                    for s in systems
                ],
                labels=slices.label_maps([index])[0],
                caption=f"patient {slices.patients[index][:6]}, {number(slices.positions[index], 0)} mm",
                place=_place(slices, int(index)),
            )
        )
    return examples


def _place(slices: Slices, index: int) -> str:
    """The place of the slice in the viewer, "<series>/<slice number>". Slice 1 is the one nearest to the feet."""
    part = int(np.searchsorted(slices.starts, index, side="right")) - 1
    return f"{slices.names[part]}/{index - int(slices.starts[part]) + 1}"


def _predicted(predictions: Predictions, row: int) -> list[bool | None]:
    """Whether each pattern is predicted on a slice; None for a pattern without a decision threshold."""
    predicted = predictions.decisions.predict(predictions.scores[row : row + 1])[0].tolist()
    thresholds = predictions.decisions.thresholds
    return [None if threshold is None else one for one, threshold in zip(predicted, thresholds, strict=True)]
