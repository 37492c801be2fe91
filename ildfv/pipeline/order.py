"""The order in which models and encodings were finished, as a counter in the workspace's finished.json.

File times are no such order: copying, restoring a backup and touching change them.
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
    """Counts `path`, the file that finishes a model or an encoding, as finished last; nothing if it is counted already.

    A run that was killed just before calls this again when it is resumed.
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
    """(SHA-256, number) of all that was finished, by folder relative to the workspace."""
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
    """The one of these finishing files that was recorded last.

    Raises
    ------
    InputError
        Several are there and for one of them no order is recorded, or it is not the file that was recorded. `how` says
        which option chooses.
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
