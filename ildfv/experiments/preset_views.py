"""The stored results of a workspace, grouped by the preset with which they were computed.

This preset may differ from that of the current command, for example if `experiment statistics --preset paper` is run in
a workspace with results of preset small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ildfv.experiments.context import Context
from ildfv.experiments.documents import ExperimentDocument
from ildfv.experiments.presets import PRESETS, Preset
from ildfv.experiments.registry import experiments
from ildfv.pipeline.report import table_documents
from ildfv.store.atomic import key_of


@dataclass(frozen=True)
class PresetView:
    """A context with one preset, and the names of the experiments that were run with this preset."""

    title: str
    context: Context
    names: list[str]


def documents(context: Context) -> dict[str, ExperimentDocument]:
    """By name, the documents for the slices and folds of the context, in the order of the paper."""
    found = table_documents(context.workspace, context.slices)
    return {name: found[name] for name in experiments() if name in found}


def by_preset(context: Context, found: Mapping[str, ExperimentDocument]) -> list[PresetView]:
    """One view per preset of the documents `found` that have held-out folds.

    Without such documents, there is one view, of the given context.
    """
    presets: dict[str, tuple[Preset, list[str]]] = {}
    for name, document in found.items():
        if document.folds:
            preset = _preset(document, context.preset)
            presets.setdefault(key_of(preset.name, preset.extent), (preset, []))[1].append(name)
    if len(presets) < 2:
        preset, names = next(iter(presets.values()), (context.preset, []))
        return [PresetView(f"preset {preset.name}", _under(context, preset), names)]
    return [
        PresetView(f"preset {p.name} ({', '.join(names)})", _under(context, p), names) for p, names in presets.values()
    ]


def _preset(document: ExperimentDocument, default: Preset) -> Preset:
    """The preset of the document. Fields that older documents lack are taken from the preset of the same name."""
    preset = PRESETS.get(document.preset, default)
    known = {name: value for name, value in document.extent.items() if name in preset.extent}
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    return replace(preset, name=document.preset, **known)


def _under(context: Context, preset: Preset) -> Context:
    """A context of the same workspace with another preset."""
    if preset.extent == context.preset.extent:
        return context
    return Context(context.workspace.root, preset, other=context.other, device=context.device)
