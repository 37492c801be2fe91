"""The systems of a workspace that are regressions on encodings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ildfv.errors import check
from ildfv.pipeline.choices import HEADS, LINEAR, SLICE
from ildfv.pipeline.encodings import Encoding, newest
from ildfv.pipeline.heads import JOINED
from ildfv.pipeline.system_names import regression_folder, system_name
from ildfv.pipeline.workspace import Workspace
from ildfv.store.models import has_model, load_info


@dataclass(frozen=True)
class System:
    """A regression of kind "linear", "ridge" or "logistic" on one encoding or on several of one fold and region.

    bags: with labels of scans, how slice scores are pooled; otherwise None. model: the folder of the regression.
    """

    name: str  # the name of its results, such as fv-filters+patches-lung-ridge
    kind: str
    layer: str  # the layers of the encodings, joined by "+"
    region: str
    bags: str | None
    fold: int
    encodings: tuple[Encoding, ...]
    model: Path

    @property
    def info(self) -> dict:
        """The metadata of the regression."""
        return load_info(self.model)

    @property
    def how(self) -> str:
        """The command that fits and scores the system again."""
        return _command(self.layer, self.region, self.kind, self.bags, self.fold)


def system(workspace: Workspace, layer: str, region: str, kind: str, fold: int, bags: str | None = None) -> System:
    """The system of this kind on the newest encodings.

    InputError: the regression is not fitted, or was fitted on earlier encodings.
    """
    home = workspace.encoding_dir(layer, fold, region)
    model = regression_folder(home, kind, bags)
    how = _command(layer, region, kind, bags, fold)
    check(has_model(model), f"{home} must have a fitted {kind} regression, got none: run `{how}`")
    names = [workspace.encoding_dir(one, fold, region).parent.name for one in layer.split(JOINED)]
    encodings = tuple(newest(workspace, fold, name) for name in names)
    recorded = load_info(model).get("encode")
    now = encodings[0].inputs if len(encodings) == 1 else {one.layer: one.inputs for one in encodings}
    check(recorded == now, f"{model} must be fitted on the current encoding, which has changed: run `{how}`")
    return System(system_name(home, kind, bags), kind, layer, region, bags, fold, encodings, model)


def chosen(
    workspace: Workspace,
    layers: Sequence[str],
    region: str,
    kinds: Sequence[str],
    fold: int | None,
    poolings: Sequence[str | None] = (None,),
) -> list[System]:
    """The systems of the given layers, in this order, or of the newest encoding if no layers are given.

    A layer may be several layers joined, such as filters+patches. kinds: kinds of regressions; if empty, all that are
    fitted. fold: by default the fold of the newest encoding. poolings: with labels of scans, the values of
    `System.bags` to consider.
    """
    for kind in kinds:
        check(kind in HEADS, f'head must be one of {", ".join(HEADS)}, got "{kind}"')
    named = [workspace.encoding_dir(layer.split(JOINED)[0], 0, region).parent.name for layer in layers]
    last = newest(workspace, fold, named[0] if named else None)
    if layers:
        pairs = [(layer, region) for layer in layers]
    else:
        pairs = [(layer, last.region) for layer in _scored_layers(workspace, last)]
    found = []
    for layer, where in pairs:
        home = workspace.encoding_dir(layer, last.fold, where)
        fitted = [kind for kind in HEADS if _fitted(home, kind, poolings)]
        for kind in kinds or fitted or [LINEAR]:
            for bags in _fitted(home, kind, poolings) or poolings[:1]:  # if none is fitted, `system` raises an error
                found.append(system(workspace, layer, where, kind, last.fold, bags))
    return found


def _scored_layers(workspace: Workspace, encoding: Encoding) -> list[str]:
    """The layers of the systems on this encoding: its own layer, or the joined layers that include it.

    Joined layers are returned only if there is no regression on the encoding alone.
    """
    folders = sorted(workspace.encodings_dir.glob(f"*/fold-{encoding.fold}/regression*"))
    suffix = "" if encoding.region == "slice" else f"-{encoding.region}"
    names = {folder.parent.parent.name for folder in folders if has_model(folder)}
    if encoding.layer + suffix in names:
        return [encoding.layer]
    layers = [name.removesuffix(suffix) for name in sorted(names) if name.endswith(suffix) and JOINED in name]
    return [layer for layer in layers if encoding.layer in layer.split(JOINED)] or [encoding.layer]


def _fitted(home: Path, kind: str, poolings: Sequence[str | None]) -> list[str | None]:
    """The poolings for which a regression of this kind is fitted."""
    return [bags for bags in poolings if has_model(regression_folder(home, kind, bags))]


def _command(layer: str, region: str, kind: str, bags: str | None, fold: int) -> str:
    given = {"region": region if region != SLICE else None, "head": kind if kind != LINEAR else None, "bags": bags}
    options = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
    return f"ildfv regress --layer {layer}{options} --fold {fold}"
