"""Finished results: they are kept if their settings and inputs are unchanged, so that a repeated run is short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, NewerVersionError
from ildfv.evaluation.documents import Results
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.score import SCORED_AGAIN, read_scores
from ildfv.pipeline.split import Split
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import MEND, key_of, sha256
from ildfv.store.checksummed import read_checksummed
from ildfv.store.models import load_model
from ildfv.store.parts import MANIFEST
from ildfv.version import versions

FINGERPRINT = "fingerprint"  # field of the settings of a result
OF_A_MODEL = ("regress", "encode")  # settings that a result has in common with its model


@dataclass
class Kept:
    """The names of the results that a run kept because they were finished, and of those that it computed.

    progress: shows a note on each stored result that cannot be used, because it is damaged or incomplete.
    """

    progress: Progress = SILENT
    kept: list[str] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)

    def finished(
        self, workspace: Workspace, split: Split, system: str, fingerprint: str, model: Path | None = None
    ) -> Results | None:
        """The finished result of a system on the held-out fold, or None if it must be computed.

        The result, its scores and its model must be intact, belong together and have this fingerprint. model: the
        folder of the model that was written with the result.
        """
        name = f"{system}-fold-{split.fold}"
        try:
            found = _read(workspace, name)
            same = found is not None and found.settings.get(FINGERPRINT) == fingerprint
            if found is not None and same and (model is None or _is_model_of(model, found)):
                self.kept.append(name)
                return found
        except NewerVersionError:
            raise  # the result is not damaged
        except InputError as error:
            reason = str(error).removesuffix(f": {MEND}").removesuffix(f": {SCORED_AGAIN}")
            self.progress.note(f"the stored result {name} cannot be used, so it is computed again: {reason}")
        self.computed.append(name)
        return None


def fingerprint_of(workspace: Workspace, slices: Slices, split: Split, inputs: dict) -> str:
    """A hash of everything that the result of a system depends on. inputs: values that not all systems depend on."""
    return key_of(
        {
            **inputs,
            "slices": slices.key,
            "folds": split.folds,
            "fold": split.fold,
            "threshold": workspace.settings.threshold,
            "seed": workspace.settings.seed,
            "versions": versions(),
        }
    )


def contents_of(encodings: Iterable[Encoding]) -> list[dict]:
    """The inputs of each encoding, and the SHA-256 of the manifest of its projections."""
    return [one.inputs | {"projections": sha256(one.folder / "projection" / MANIFEST)} for one in encodings]


def _read(workspace: Workspace, name: str) -> Results | None:
    """The result of this name; None if there is none. InputError: the result or its scores are not intact."""
    path = workspace.results_dir / f"{name}.json"
    if not path.exists():
        return None
    found = Results.from_dict(read_checksummed(path), name=str(path))
    read_scores(workspace, name, found.scores_sha256)
    return found


def _is_model_of(folder: Path, results: Results) -> bool:
    """Whether the folder has a model with the same settings as the result. InputError: the model is not intact."""
    _, info = load_model(folder)
    return all(info.get(name) == results.settings.get(name) for name in OF_A_MODEL)
