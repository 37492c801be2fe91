"""Completion of option values in the shell: layers, workspaces and predictors.

Each function returns the values that begin with what has been typed. An empty list makes the shell complete file names.
Nothing here imports torch, and the number of folders searched is limited, because the user waits for the result.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import typer

from ildfv.train import defaults
from ildfv.train.layer_names import OF_NETWORK, UNTRAINED

DEPTH = 2  # levels of folders below the typed one
MAX_ENTRIES = 2000  # of folders, and of entries of each folder; a scan has a few hundred files


def workspaces(incomplete: str) -> list[str]:
    """Folders with a workspace.toml."""
    return _folders_with("workspace.toml", incomplete)


def predictors(incomplete: str) -> list[str]:
    """Folders with a predictor.json."""
    return _folders_with("predictor.json", incomplete)


def layers(context: typer.Context, incomplete: str) -> list[str]:
    """Layers that can be encoded: layers of --network or of the workspace's networks, and layers without a network."""
    network = context.params.get("network")
    names = _of_models(context) or OF_NETWORK[defaults.NETWORK] if network is None else OF_NETWORK.get(network, ())
    return _joined((*names, *UNTRAINED), incomplete)


def encoded_layers(context: typer.Context, incomplete: str) -> list[str]:
    """Layers with a finished encoding in the workspace, for the region given by --region."""
    found = sorted(path.parents[1].name for path in _workspace(context).glob("encodings/*/fold-*/encoding.json"))
    region = context.params.get("region") or "slice"
    if region != "slice":
        found = [name.removesuffix(f"-{region}") for name in found if name.endswith(f"-{region}")]
    return _beginning(found, incomplete)


def joined_layers(context: typer.Context, incomplete: str) -> list[str]:
    """Layers like `encoded_layers`, also after a plus sign, as in `filters+patches`."""
    return _joined(encoded_layers(context, ""), incomplete)


def systems(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the systems with results in the workspace, without baselines."""
    names = (path.stem.rpartition("-fold-")[0] for path in sorted(_workspace(context).glob("results/*-fold-*.json")))
    return _beginning((name for name in names if name.startswith(("fv-", "cnn-"))), incomplete)


def _joined(names: Iterable[str], incomplete: str) -> list[str]:
    """The names that complete the last name of `incomplete`, which may follow other names and a plus sign."""
    before, plus, last = incomplete.rpartition("+")
    return [f"{before}{plus}{name}" for name in _beginning(names, last)]


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _workspace(context: typer.Context) -> Path:
    return Path(context.params.get("workspace") or ".").expanduser()


def _of_models(context: typer.Context) -> list[str]:
    """The layers recorded with the network given by --model, or with all networks of the workspace."""
    model = context.params.get("model") or "*"
    return [name for path in _workspace(context).glob(f"models/{model}/fold-*/model.json") for name in _recorded(path)]


def _recorded(path: Path) -> list[str]:
    """The layers of a saved network; [] if the file cannot be read, which `ildfv verify` reports."""
    from ildfv.errors import InputError
    from ildfv.store.atomic import read_json

    try:
        info = read_json(path)
    except (InputError, OSError):
        return []
    if not isinstance(info, dict):
        return []
    return list(info.get("layers") or OF_NETWORK.get(info.get("network", ""), ()))


def _folders_with(name: str, incomplete: str) -> list[str]:
    """Folders that contain a file of this name, as paths that begin with the typed text.

    Names with spaces are left to the shell, which quotes them.
    """
    typed, slash, start = incomplete.rpartition("/")
    root = Path(os.path.expanduser(typed + slash) or ".")
    here = ["."] if incomplete in ("", ".") and (root / name).is_file() else []
    folders = islice(_below(root, start), MAX_ENTRIES)
    found = [f"{typed}{slash}{folder}" for folder in folders if (root / folder / name).is_file()]
    return here + sorted(path for path in found if not any(character.isspace() for character in path))


def _below(root: Path, start: str) -> Iterator[str]:
    """Folders below `root`, nearest first, whose relative path begins with `start`, without hidden folders."""
    level = [""]
    for depth in range(DEPTH):
        following = []
        for parent in level:
            for entry in _entries(root / parent):
                if entry.is_dir() and not entry.name.startswith(".") and (depth or entry.name.startswith(start)):
                    following.append(f"{parent}{entry.name}")
                    yield following[-1]
        level = [f"{folder}/" for folder in following]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The first MAX_ENTRIES entries of a folder; [] if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(islice(entries, MAX_ENTRIES))
    except OSError:
        return []
