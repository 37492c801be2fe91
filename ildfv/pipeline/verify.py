"""Integrity check of a workspace: files must match their checksums, or else be readable and consistent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from ildfv.errors import UPDATE, InputError, OutOfReachError, check
from ildfv.evaluation.folds import Folds
from ildfv.patterns import PATTERNS
from ildfv.pipeline.encoders import kind as encoder_kind
from ildfv.pipeline.encodings import FINISHED, Encoding
from ildfv.pipeline.kinds import load_kinds
from ildfv.pipeline.location import SETTINGS
from ildfv.pipeline.split import check_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import MEND, TEMPORARY, read_json
from ildfv.store.fingerprint import FINGERPRINT
from ildfv.store.kinds import FileKind, document_kind, kind_of
from ildfv.store.models import INFO, TENSORS, has_model, load_info, verify_model
from ildfv.store.parts import MANIFEST, Parts

NEEDED = ("mixture", "codebook", "pca", "projection", "fisher")  # folders of a finished encoding


def verify_workspace(root: Path) -> dict:
    """Checks a workspace and returns {"workspace": path, "checked": number of files, "faults": list of str}.

    There is one fault, with a remedy, per missing or corrupt file. Parts, models, encodings and result documents are
    compared with their SHA-256, label maps with the checksum of gzip. workspace.toml and folds.json may be edited by
    hand and have no checksum, so they are parsed and validated.

    Raises
    ------
    InputError
        `root` is not a workspace, workspace.toml is not valid, or the server that stores the slices does not respond.
    """
    workspace = Workspace.open(root)
    load_kinds()
    checked, faults = 1, []  # Workspace.open has checked workspace.toml
    for path, files, found in _checks(workspace):
        checked += files
        # The remedy MEND of other commands is to run `ildfv verify`, so it is omitted here.
        # A file of a newer version of ildfv is intact and must not be removed.
        faults += [
            fault if fault.endswith(UPDATE) else f"{fault.removesuffix(f': {MEND}')}; {_remedy(workspace, path)}"
            for fault in found
        ]
    return {"workspace": str(workspace.root), "checked": checked, "faults": faults}


def _checks(workspace: Workspace) -> Iterator[tuple[Path | None, int, list[str]]]:
    """Yields (path, number of files, faults) for each check. The path is None for slices outside the workspace."""
    files = _files(workspace)
    folders: list[tuple[Path | None, Path | str]] = [(path, path.parent) for path in _named(files, MANIFEST)]
    if workspace.settings.slices is not None:
        folders.append((None, workspace.settings.slices))
    for path, folder in folders:
        parts, faults = _parts(folder)
        yield path, 1, faults
        if parts is not None:
            damaged = parts.verify()
            yield path and path.parent, len(parts), damaged
            settings = workspace.root / SETTINGS
            if path == workspace.slices_dir / MANIFEST and parts.key != workspace.slices_key:
                fault = f"{settings} must have the salt with which {folder} was prepared, got another"
                yield settings, 0, [fault]
            elif path == workspace.slices_dir / MANIFEST and not damaged:
                yield settings, 0, _faults(lambda _: workspace.stored_slices(), settings)
    for path in _named(files, TENSORS):
        yield path, 1, verify_model(path.parent) or _own_check(workspace, path)
        if (copy := path.with_name(INFO)).exists():
            yield copy, 1, _faults(_check_copy, copy)
    for path in _named(files, FINISHED):
        yield path, 1, _faults(_check_encoding, path)
    for path in _named(files, FINGERPRINT):
        if not (path.parent / FINISHED).exists():
            yield path, 1, _faults(_check_unfinished, path)
    if workspace.folds_file.exists():
        yield workspace.folds_file, 1, _faults(lambda path: _check_folds(workspace, path), workspace.folds_file)
    for path in sorted(workspace.root.glob("*.json")):  # the report of `prepare`
        if path != workspace.folds_file and not isinstance(kind_of(Path(path.name)), FileKind):
            yield path, 1, _faults(read_json, path)
    for path in files:
        kind = kind_of(path.relative_to(workspace.root))
        if isinstance(kind, FileKind) and kind.check is not None and path.name != TENSORS:
            yield path, 1, _own_check(workspace, path)
    for path in sorted(workspace.results_dir.rglob("*.json")):
        yield path, 1, _faults(lambda path: _check_document(workspace, path), path)
    yield from _missing(workspace, files)


def _missing(workspace: Workspace, files: list[Path]) -> Iterator[tuple[Path, int, list[str]]]:
    """Yields a fault for each missing file that other files require. Finished encodings are checked separately."""

    def of_encoding(folder: Path) -> bool:
        return folder.name in NEEDED and (folder.parent / FINISHED).exists()

    for folder in sorted({path.parent for path in _named(files, "*.h5")}):
        if not (folder / MANIFEST).exists() and not of_encoding(folder):
            yield folder / MANIFEST, 0, [f"{folder / MANIFEST} is missing, but the folder has parts"]
    for copy in _named(files, INFO):
        kind = kind_of(copy.relative_to(workspace.root))
        removed = isinstance(kind, FileKind) and kind.may_lack(workspace.root, copy.parent)
        if not has_model(copy.parent) and not of_encoding(copy.parent) and not removed:
            yield copy.parent / TENSORS, 0, [f"{copy.parent / TENSORS} is missing"]
    for table in sorted(workspace.results_dir.glob("*.csv")):
        if not (document := table.with_suffix(".json")).exists():
            yield document, 0, [f"{document} is missing"]
    trained = workspace.models_dir.exists() or workspace.encodings_dir.exists()
    if trained and not workspace.folds_file.exists():
        yield workspace.folds_file, 0, [f"{workspace.folds_file} is missing"]


def _files(workspace: Workspace) -> list[Path]:
    """All files except temporary ones, sorted. Links to folders are followed, but each folder is visited only once."""
    found, seen = [], set()
    for folder, folders, files in os.walk(workspace.root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(folder) / file for file in files if not file.startswith(TEMPORARY)]
    return sorted(found)


def _named(files: list[Path], name: str) -> list[Path]:
    return [path for path in files if fnmatch(path.name, name)]


def _parts(folder: Path | str) -> tuple[Parts | None, list[str]]:
    """(parts, []), or (None, [fault]) if the manifest is not valid. OutOfReachError: the server does not respond."""
    try:
        return Parts(folder), []
    except OutOfReachError:
        raise
    except (InputError, OSError) as error:
        return None, [str(error)]


def _faults(read: Callable[[Path], object], path: Path) -> list[str]:
    """[] if `read` accepts the file, otherwise one fault that names the file."""
    try:
        read(path)
    except (InputError, UnicodeDecodeError) as error:
        return [str(error) if str(path) in str(error) else f"{path}: {error}"]
    except (KeyError, TypeError, AttributeError, IndexError, OSError) as error:  # JSON of another structure
        return [f"{path} must have the structure that ildfv writes, got {error!r}"]
    except ValueError as error:  # a table with an invalid number
        return [f"{path}: {error}"]
    return []


def _own_check(workspace: Workspace, path: Path) -> list[str]:
    """The faults that the check of the file's registered kind finds."""
    kind = kind_of(path.relative_to(workspace.root))
    if not isinstance(kind, FileKind) or kind.check is None:
        return []
    own_check = kind.check
    return _faults(lambda path: own_check(workspace.root, path), path)


def _check_folds(workspace: Workspace, path: Path) -> None:
    """Checks that the folds are valid and match the slices."""
    Folds.load(path, PATTERNS)
    try:
        workspace.slices().scans("patient")
    except InputError:  # missing or unreadable slices are reported by their own check
        return
    check_folds(workspace)


def _check_copy(path: Path) -> None:
    """Checks that the readable copy of a model's metadata equals the metadata."""
    if has_model(path.parent) and not verify_model(path.parent):
        check(read_json(path) == load_info(path.parent), f"{path} must equal the metadata in {TENSORS}")


def _check_encoding(path: Path) -> None:
    """Checks that a finished encoding is complete and that all its parts were made from the same slices."""
    folder, encoding = path.parent, Encoding(path.parent)
    check((folder / FINGERPRINT).exists(), f"{folder / FINGERPRINT} is missing")
    fingerprint = read_json(folder / FINGERPRINT)
    if not _without_inputs(fingerprint):
        same = all(fingerprint[name] == value for name, value in encoding.inputs.items())
        check(same, f"{folder / FINGERPRINT} must list the same inputs as {FINISHED}")
    model = encoder_kind(encoding.info.get("encoder", "fisher")).model  # without the field: Fisher vectors
    for name in filter(None, (model, "pca")):
        check(has_model(folder / name), f"{folder / name}: {TENSORS} is missing")
    made_of = set()
    for name in ("projection", "fisher") if encoding.info.get("fisher_stored") else ("projection",):
        manifest = folder / name / MANIFEST
        check(manifest.exists(), f"{manifest} is missing")
        found, _ = _parts(manifest.parent)  # a corrupt manifest is reported by its own check
        if found is not None and _without_inputs(fingerprint):
            made_of.add((found.key, found.count))
        elif found is not None:
            encoding.check_made(found)
    check(len(made_of) <= 1, f"{folder} must contain parts made from the same slices, got {sorted(made_of)}")


def _check_unfinished(path: Path) -> None:
    """Checks that the parts of an unfinished encoding were made from the slices in its fingerprint."""
    fingerprint = read_json(path)
    if _without_inputs(fingerprint):
        return
    slices = fingerprint["slices"]
    for manifest in path.parent.glob(f"*/{MANIFEST}"):
        found, _ = _parts(manifest.parent)
        if found is not None:
            check(found.key == slices, f"{manifest} must have the key {slices} as in {FINGERPRINT}, got {found.key}")


def _without_inputs(fingerprint: dict) -> bool:
    """Whether the fingerprint is from an old version of `ildfv experiment`, which recorded only the system's name."""
    return "system" in fingerprint


def _check_document(workspace: Workspace, path: Path) -> None:
    """Checks that a document is of the kind registered for its path, valid, and consistent with other files."""
    place = path.relative_to(workspace.root)
    kind = document_kind(place)
    if kind is None:
        raise InputError(f"{path} must be in a folder of a known kind of document, got the folder {place.parent}")
    kind.check(workspace.root, path, kind.read(path))


def _remedy(workspace: Workspace, path: Path | None) -> str:
    """The remedy for a corrupt or missing file."""
    if path is None:
        return f"run `ildfv prepare` again, with the location that is given in {SETTINGS} as its output"
    if path.name == INFO:
        return f"remove {path}: it is a copy of the metadata in {TENSORS}"
    if path == workspace.root / SETTINGS:
        return f"restore {SETTINGS} from a backup, or prepare all scans in another workspace"
    if path == workspace.folds_file:
        return "restore it from a backup, or run `ildfv folds --fresh` and all later commands again"
    place = path.relative_to(workspace.root)
    if path == workspace.slices_dir / MANIFEST:
        return f"remove the folder {path.parent} and run `ildfv prepare` on all scans again"
    if place.parts[0] == "slices":
        return "run `ildfv prepare` on the scans again: corrupt parts are replaced, all others are kept"
    if (kind := kind_of(place)) is not None:
        return kind.remedy(workspace.root, path)
    if len(place.parts) == 1:
        return f"remove it and run `ildfv {path.stem}` again"
    if place.parts[0] == "results":
        return f"remove {path}"
    folder = workspace.root.joinpath(*place.parts[:3])
    return f"remove the folder {folder} and run `ildfv {'train' if place.parts[0] == 'models' else 'encode'}` again"
