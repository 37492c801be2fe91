"""The order in which models and encodings were finished, recorded by a counter in the workspace's finished.json.

File times do not give this order, because copying a file or restoring a backup changes them.
{"version": 1, "finished": [{"folder": "models/cnnf/fold-0", "sha256": of its last file, "number": 1, 2, …}]}
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
PATIENCE = 60.0  # seconds to wait for another command that writes to the workspace's own files


def record(workspace: Workspace, path: Path) -> None:
    """Records `path`, the last file of a model or an encoding, as the one finished last, unless it is recorded already.

    A run that is killed before this is recorded records it when it is resumed.
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
    """(SHA-256, number) of each finished model and encoding, by folder relative to the workspace."""
    path = workspace.root / FILE
    if not path.exists():
        return {}
    document = read_json(path)
    try:
        check(document["version"] == VERSION, f"{path} must have version {VERSION}, got {document['version']!r}")
        return {str(row["folder"]): (str(row["sha256"]), int(row["number"])) for row in document["finished"]}
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be a list of finished folders, got {error!r}: remove it") from error


def finished_last(workspace: Workspace, found: Sequence[Path], how: str) -> Path:
    """The one of these last files of models or encodings that was recorded last; a single one need not be recorded.

    Raises
    ------
    InputError
        One of several is not recorded, or was changed since. `how` names the option that chooses one.
    """
    if len(found) == 1:
        return found[0]
    rows = recorded(workspace)
    folders = {path.parent.relative_to(workspace.root).as_posix(): path for path in found}
    unknown = sorted(folder for folder in folders if folder not in rows)
    which = f"cannot tell which of {', '.join(sorted(folders))} was finished last"
    check(not unknown, f"{which}: {FILE} does not list {', '.join(unknown)}; {how}")
    last = max(folders, key=lambda folder: rows[folder][1])
    check(sha256(folders[last]) == rows[last][0], f"{which}: {last} is not what {FILE} lists; {how}")
    return folders[last]
