"""The order in which models and encodings were finished, recorded in the workspace's finished.json.

File times cannot be used, because copying a file or restoring a backup changes them. The content of the file is
{"version": 1, "finished": [{"folder": "models/cnnf/fold-0", "sha256": …, "number": 1}, …]}
with the SHA-256 of the last file that was written to the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ildfv.errors import InputError, check
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import read_json, sha256, write_json
from ildfv.store.lock import writing

FILE = "finished.json"
VERSION = 1
PATIENCE = 60.0  # seconds to wait for another command that holds the lock of the workspace


def record(workspace: Workspace, path: Path) -> None:
    """Records that a model or an encoding was finished after all others, unless it is already recorded.

    path: the last file that was written to its folder. If a run is killed before it calls this function, the resumed
    run calls it.
    """
    folder, digest = path.parent.relative_to(workspace.root).as_posix(), sha256(path)
    with writing(workspace.root, patience=PATIENCE):
        rows = recorded(workspace)
        if rows.get(folder, ("", 0))[0] == digest:
            return
        rows[folder] = (digest, 1 + max((number for _, number in rows.values()), default=0))
        listed = [{"folder": name, "sha256": sha, "number": number} for name, (sha, number) in sorted(rows.items())]
        write_json(workspace.root / FILE, {"version": VERSION, "finished": listed})


def recorded(workspace: Workspace) -> dict[str, tuple[str, int]]:
    """(SHA-256, position in the order) of each finished model and encoding, by folder relative to the workspace.

    InputError: the file has another version or structure.
    """
    path = workspace.root / FILE
    if not path.exists():
        return {}
    document = read_json(path)
    try:
        got = document["version"]
        remedy = "use the version of ildfv that wrote it"
        check(got == VERSION, f"{path} must have version {VERSION}, got {got!r}: {remedy}")
        return {str(row["folder"]): (str(row["sha256"]), int(row["number"])) for row in document["finished"]}
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a list of finished folders, got {error!r}: remove it") from error


def finished_last(workspace: Workspace, found: Sequence[Path], how: str) -> Path:
    """The file of the model or encoding that was finished last. A single file is returned without a check.

    found: the last file that was written to the folder of each model or encoding.

    Raises
    ------
    InputError
        One of several files is not recorded, or was changed after it was recorded. `how` is the remedy in the message.
    """
    if len(found) == 1:
        return found[0]
    rows = recorded(workspace)
    folders = {path.parent.relative_to(workspace.root).as_posix(): path for path in found}
    unknown = sorted(folder for folder in folders if folder not in rows)
    rule = f"{FILE} must record which of {', '.join(sorted(folders))} was finished last"
    check(not unknown, f"{rule}, got no record of {', '.join(unknown)}: {how}")
    last = max(folders, key=lambda folder: rows[folder][1])
    check(sha256(folders[last]) == rows[last][0], f"{rule}, got the checksum of an earlier {last}: {how}")
    return folders[last]
