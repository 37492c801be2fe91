"""A folder of results belongs to the settings and inputs it was begun with: nothing else is ever mixed into it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ildfv.errors import InputError, check
from ildfv.store.atomic import TEMPORARY, read_json, write_json

CLAIM = "claim.json"
HASHES = ("slices", "folds", "model_sha256")  # inputs that are known by a hash of their content


def claim(folder: Path, inputs: dict, *, fresh: bool = False, found_out: dict | None = None) -> dict:
    """Begins the folder for `inputs` (JSON-able), or finds it begun for the same ones. Only under the folder's lock.

    found_out: values that the machine decides, by name; those of the run that began the folder are returned, for all
    later runs to go on with. InputError names the first input that differs; with `fresh` the old content is removed
    instead.
    """
    found_out = found_out or {}
    folder = Path(folder)
    path = folder / CLAIM
    if path.exists():
        found = read_json(path)
        check(isinstance(found, dict), f"{path} must be what ildfv writes there, got {type(found).__name__}")
        theirs = {name: found.pop(name, value) for name, value in found_out.items()}
        differing = [name for name in {**found, **inputs} if found.get(name) != inputs.get(name)]
        if not differing:
            return theirs
        if not fresh:
            name = differing[0]
            what = f"{name} = {found.get(name)!r}, now {inputs.get(name)!r}"
            if name in HASHES:  # two hashes tell a reader nothing
                what = f"other {name.removesuffix('_sha256')} than the workspace now holds"
            hint = "--fresh makes it anew, the old settings go on with it"
            raise InputError(f"{folder} was begun with {what}: {hint}")
    elif not fresh and any(not child.name.startswith(".") for child in folder.iterdir()):
        raise InputError(f"{folder} holds results of settings that no {CLAIM} tells: --fresh makes it anew")
    if fresh:
        empty(folder)
    write_json(path, {**inputs, **found_out})
    return found_out


def empty(folder: Path) -> None:
    """Removes all that is in the folder but its lock and its claim. Only under that lock.

    Killed anywhere, it leaves nothing that looks finished: files that say so go first, folders vanish whole.
    """
    folder = Path(folder)
    for child in sorted(folder.iterdir(), key=Path.is_dir):
        if child.is_dir():
            shutil.rmtree(child.rename(folder / f"{TEMPORARY}{child.name}"))
        elif child.name != CLAIM and not child.name.startswith("."):  # the lock and its holder stay
            child.unlink()
