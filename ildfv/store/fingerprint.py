"""The settings fingerprint of an output folder: the settings and inputs from which all its content was made."""

from __future__ import annotations

import shutil
from pathlib import Path

from ildfv.errors import InputError, check
from ildfv.store.atomic import TEMPORARY, read_json, write_json

FINGERPRINT = "claim.json"  # not renamed, so that workspaces of earlier versions stay valid
HASHED = {  # words for inputs that are stored as a hash, because a hash in a message would tell the user nothing
    "slices": "slices other than the current ones",
    "folds": "folds other than the current ones",
    "model_sha256": "a model other than the current one",
}


def match_fingerprint(folder: Path, inputs: dict, *, fresh: bool = False, measured: dict | None = None) -> dict:
    """Writes the fingerprint of a new folder, or checks that the existing fingerprint equals `inputs`.

    The caller must hold the lock of the folder.

    Parameters
    ----------
    folder : Path
        Existing output folder.
    inputs : dict
        Settings and inputs as JSON values.
    fresh : bool
        Whether to remove the content of a folder that was made from other inputs.
    measured : dict, optional
        Values that depend on the machine, such as a batch size for the memory of its GPU. They are stored but not
        compared.

    Returns
    -------
    dict
        The measured values of the run that created the folder. Later runs must use these to write equal bytes.

    Raises
    ------
    InputError
        An input differs (the message names the first one), or the folder has content but no fingerprint.
    """
    measured = measured or {}
    folder = Path(folder)
    path = folder / FINGERPRINT
    if path.exists():
        earlier = read_json(path)
        check(isinstance(earlier, dict), f"{path} must contain a JSON object, got {type(earlier).__name__}")
        stored = {name: earlier.pop(name, value) for name, value in measured.items()}
        differing = [name for name in {**earlier, **inputs} if earlier.get(name) != inputs.get(name)]
        if not differing:
            return stored
        if not fresh:
            name = differing[0]
            what = HASHED.get(name, f"{name} = {earlier.get(name)!r}, now {inputs.get(name)!r}")
            remedy = "restore the old settings to resume, or repeat the command with --fresh to replace its content"
            raise InputError(f"{folder} was made with {what}: {remedy}", faq="other-settings")
    elif not fresh and any(not child.name.startswith(".") for child in folder.iterdir()):
        rule = f"{folder} has content but no {FINGERPRINT} with its settings"
        raise InputError(f"{rule}: repeat the command with --fresh to replace the content")
    if fresh:
        empty(folder)
    write_json(path, {**inputs, **measured})
    return measured


def empty(folder: Path) -> None:
    """Removes the content of the folder except its lock and fingerprint. The caller must hold the lock.

    If the process is killed at any point, no remaining content looks finished: files are removed first, because they
    mark a folder as finished, and subfolders are renamed before they are deleted.
    """
    folder = Path(folder)
    for child in sorted(folder.iterdir(), key=Path.is_dir):
        if child.is_dir():
            shutil.rmtree(child.rename(folder / f"{TEMPORARY}{child.name}"))
        elif child.name != FINGERPRINT and not child.name.startswith("."):
            child.unlink()
