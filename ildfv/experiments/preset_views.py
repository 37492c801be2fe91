"""What a workspace shows: the documents of its experiments, and labs under the presets that these were found with.

The preset of the last command says nothing of them: `experiment statistics --preset paper` may follow small results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ildfv.experiments.context import Lab
from ildfv.experiments.documents import ExperimentDocument
from ildfv.experiments.presets import PRESETS, Preset
from ildfv.experiments.registry import experiments
from ildfv.pipeline.report import table_documents
from ildfv.store.atomic import key_of


@dataclass(frozen=True)
class Shown:
    """A lab under one preset, and the names of the experiments that were run with it."""

    title: str
    lab: Lab
    names: list[str]


def documents(lab: Lab) -> dict[str, ExperimentDocument]:
    """The documents of these slices and folds by name, in the order of the paper."""
    found = table_documents(lab.workspace, lab.slices)
    return {name: found[name] for name in experiments() if name in found}


def by_preset(lab: Lab, found: Mapping[str, ExperimentDocument]) -> list[Shown]:
    """One for each preset that held out folds in the documents `found`; the lab itself where none of them has."""
    presets: dict[str, tuple[Preset, list[str]]] = {}
    for name, document in found.items():
        if document.folds:
            preset = _preset(document, lab.preset)
            presets.setdefault(key_of(preset.name, preset.extent), (preset, []))[1].append(name)
    if len(presets) < 2:
        preset, names = next(iter(presets.values()), (lab.preset, []))
        return [Shown(f"preset {preset.name}", _under(lab, preset), names)]
    return [Shown(f"preset {p.name} ({', '.join(names)})", _under(lab, p), names) for p, names in presets.values()]


def _preset(document: ExperimentDocument, otherwise: Preset) -> Preset:
    """The document's preset; what a document of an older version does not say is the preset's of that name."""
    preset = PRESETS.get(document.preset, otherwise)
    return replace(preset, name=document.preset, **document.extent)


def _under(lab: Lab, preset: Preset) -> Lab:
    """The same workspace under another preset."""
    if preset.extent == lab.preset.extent:
        return lab
    other = Lab(lab.workspace.root, preset, device=lab.device)
    other.paper = lab.paper
    return other
