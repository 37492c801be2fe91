"""The systems of a workspace that are regressions on encodings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ildfv.errors import check
from ildfv.pipeline.choices import HEADS, LINEAR, REGIONS, SLICE
from ildfv.pipeline.encodings import Encoding, newest
from ildfv.pipeline.heads import JOINED
from ildfv.pipeline.system_names import FOLDER, Choices, system_name
from ildfv.pipeline.workspace import Workspace
from ildfv.store.models import has_model, load_info


@dataclass(frozen=True)
class System:
    """A regression on one encoding or on several of one fold and region. model: the folder of the regression."""

    choices: Choices
    layer: str  # the layers of the encodings, joined by "+"
    region: str
    fold: int
    encodings: tuple[Encoding, ...]
    model: Path

    @property
    def name(self) -> str:
        """The name of the system in results, such as fv-filters+patches-lung-ridge."""
        return system_name(self.model)

    @property
    def kind(self) -> str:
        """The kind of head: "linear", "ridge" or "logistic"."""
        return self.choices.head

    @property
    def info(self) -> dict:
        """The metadata of the regression."""
        return load_info(self.model)

    @property
    def how(self) -> str:
        """The command that fits and scores the system again."""
        return _command(self.layer, self.region, self.choices, self.fold)


def on_fold(workspace: Workspace, system: System, fold: int) -> System:
    """The system with the choices of `system` that was fitted without the fold `fold`. Errors are those of `chosen`."""
    model = workspace.encoding_dir(system.layer, fold, system.region) / system.model.name
    return _current(workspace, system.layer, system.region, fold, model, system.choices)


def chosen(
    workspace: Workspace,
    layers: Sequence[str],
    region: str,
    heads: Sequence[str],
    fold: int | None,
    poolings: Sequence[str | None] = (None,),
) -> list[System]:
    """The systems of the given layers, in this order, or of the newest encoding if no layers are given.

    layers: a layer may be several layers joined, such as filters+patches. heads: kinds of regressions, or kinds with
    choices as in names of systems, such as ridge-density-off; if empty, all that are fitted. A kind alone is the
    regression with the default choices or, if it is not fitted, all of this kind. fold: by default the fold of the
    newest encoding. poolings: with labels of scans, the values of `Choices.bags` to consider.

    InputError: a head is unknown, an encoding is missing, or a regression is not fitted or was fitted on earlier
    encodings.
    """
    for head in heads:
        known = _kind(head) in HEADS
        check(known, f'head must be {", ".join(HEADS)}, or one of these with its choices, got "{head}"')
    named = [workspace.encoding_dir(layer.split(JOINED)[0], 0, region).parent.name for layer in layers]
    last = newest(workspace, fold, named[0] if named else None)
    if layers:
        pairs = [(layer, region) for layer in layers]
    else:
        pairs = [(layer, last.region) for layer in _scored_layers(workspace, last)]
    return [
        _current(workspace, layer, where, last.fold, model, choices)
        for layer, where in pairs
        for model, choices in _selected(workspace, layer, where, last.fold, heads, poolings)
    ]


def by_name(workspace: Workspace, names: Sequence[str], fold: int | None) -> list[System]:
    """The systems of the given names, in this order. InputError: one is not fitted, or is out of date.

    fold: by default the fold of the newest encoding.
    """
    fold = newest(workspace, fold).fold
    models = {system_name(model): model for model in sorted(workspace.encodings_dir.glob(f"*/fold-{fold}/{FOLDER}*"))}
    found = []
    for name in names:
        fitted = name in models and has_model(models[name]) and "regress" in load_info(models[name])
        known = ", ".join(models) or "none"
        check(fitted, f'system must be a fitted regression of fold {fold}, got "{name}": choose one of {known}')
        layer, region = _layer_and_region(models[name].parent.parent.name)
        choices = Choices.recorded(load_info(models[name])["regress"])
        found.append(_current(workspace, layer, region, fold, models[name], choices))
    return found


def _layer_and_region(folder: str) -> tuple[str, str]:
    """("filters+patches", "lung") of the name of a folder such as filters+patches-lung."""
    region = next((one for one in REGIONS if folder.endswith(f"-{one}")), SLICE)
    return folder.removesuffix(f"-{region}"), region


def _kind(head: str) -> str:
    """The kind of regression in a text such as "ridge-density-off" or in the name of a system."""
    parts = head.split("-")
    return next((part for part in parts if part in HEADS), LINEAR if head.startswith("fv-") else parts[0])


Fitted = tuple[Path, Choices]  # the folder of a regression, and its choices


def _selected(
    workspace: Workspace, layer: str, region: str, fold: int, heads: Sequence[str], poolings: Sequence[str | None]
) -> list[Fitted]:
    """The regressions on a layer that `heads` and `poolings` name, see `chosen`."""
    home = workspace.encoding_dir(layer, fold, region)
    every = _fitted(home)
    fitted = [one for one in every if one[1].bags in poolings]
    found: list[Fitted] = [] if heads else fitted
    for head in heads or ([] if fitted else [LINEAR]):
        named = [one for one in every if head in (one[1].label, system_name(one[0]))]
        named = named or [one for one in fitted if one[1].head == head]
        got = ", ".join(choices.label for _, choices in every) or "none"
        how = _command(layer, region, Choices(_kind(head), bags=poolings[0]), fold)
        with_choices = "" if head in HEADS else " and add the options that its name contains"
        check(bool(named), f"{home} must have a fitted {head} regression, got {got}: run `{how}`{with_choices}")
        found += [one for one in named if one not in found]
    return found


def _fitted(home: Path) -> list[Fitted]:
    """All fitted regressions in the folder of an encoding, those of the first head first."""
    infos = {folder: load_info(folder) for folder in sorted(home.glob(f"{FOLDER}*")) if has_model(folder)}
    # Regressions of experiments do not record their choices under "regress".
    found = [(folder, Choices.recorded(info["regress"])) for folder, info in infos.items() if "regress" in info]
    return sorted(found, key=lambda one: HEADS.index(one[1].head))


def _current(workspace: Workspace, layer: str, region: str, fold: int, model: Path, choices: Choices) -> System:
    """The system of a regression. InputError: it is not fitted, or was fitted on earlier encodings."""
    how = _command(layer, region, choices, fold)
    check(has_model(model), f"{model.parent} must have a fitted {choices.label} regression, got none: run `{how}`")
    names = [workspace.encoding_dir(one, fold, region).parent.name for one in layer.split(JOINED)]
    encodings = tuple(newest(workspace, fold, name) for name in names)
    recorded = load_info(model).get("encode")
    now = encodings[0].inputs if len(encodings) == 1 else {one.layer: one.inputs for one in encodings}
    check(recorded == now, f"{model} must be fitted on the current encoding, which has changed: run `{how}`")
    return System(choices, layer, region, fold, encodings, model)


def _scored_layers(workspace: Workspace, encoding: Encoding) -> list[str]:
    """The layers of the systems on this encoding: its own layer, or the joined layers that include it.

    Joined layers are returned only if there is no regression on the encoding alone.
    """
    folders = sorted(workspace.encodings_dir.glob(f"*/fold-{encoding.fold}/{FOLDER}*"))
    suffix = "" if encoding.region == "slice" else f"-{encoding.region}"
    names = {folder.parent.parent.name for folder in folders if has_model(folder)}
    if encoding.layer + suffix in names:
        return [encoding.layer]
    layers = [name.removesuffix(suffix) for name in sorted(names) if name.endswith(suffix) and JOINED in name]
    return [layer for layer in layers if encoding.layer in layer.split(JOINED)] or [encoding.layer]


def _command(layer: str, region: str, choices: Choices, fold: int) -> str:
    where = "" if region == SLICE else f" --region {region}"
    return f"ildfv regress --layer {layer}{where}{choices.options} --fold {fold}"
