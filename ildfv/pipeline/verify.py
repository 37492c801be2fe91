"""Is everything in a workspace still what was written: hashes where there are hashes, the rest read and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from ildfv.errors import InputError, OutOfReachError, check
from ildfv.evaluation.folds import Folds
from ildfv.pipeline.encodings import FINISHED, Encoding
from ildfv.pipeline.order import FILE as ORDER
from ildfv.pipeline.order import recorded
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.split import check_split, make_roles
from ildfv.pipeline.workspace import SETTINGS, Workspace, check_result_name
from ildfv.store.atomic import TEMPORARY, check_gzip, key_of, read_json, sha256
from ildfv.store.checksummed import read_sealed
from ildfv.store.fingerprint import CLAIM
from ildfv.store.models import INFO, TENSORS, has_model, load_info, verify_model
from ildfv.store.parts import MANIFEST, Parts

KINDS = {"": "ildfv results", "experiments": "ildfv experiment", "experiments/checklist": "ildfv checklist"}
NEEDED = ("mixture", "pca", "projection", "fisher")  # folders of a finished encoding


def verify_workspace(root: Path) -> dict:
    """{"checked": number of files, "faults": one line for each that is missing or damaged, saying what to do}.

    Parts and models are compared with the SHA-256 they were written with, label maps with gzip's checksum.
    encoding.json and results say their own. workspace.toml and folds.json, which are edited by hand, have none: they
    must parse and be complete. `InputError`: no workspace, one whose workspace.toml breaks a rule, or slices out of
    reach.
    """
    workspace = Workspace.open(root)
    checked, faults = 1, []  # workspace.toml
    for path, files, found in _checks(workspace):
        checked += files
        faults += [f"{fault}; {_advice(workspace, path)}" for fault in found]
    return {"workspace": str(workspace.root), "checked": checked, "faults": faults}


def _checks(workspace: Workspace) -> Iterator[tuple[Path | None, int, list[str]]]:
    """(what was checked, None for slices that lie elsewhere; how many files that is; its faults)."""
    files = _files(workspace)
    folders: list[tuple[Path | None, Path | str]] = [(path, path.parent) for path in _named(files, MANIFEST)]
    if workspace.settings.slices is not None:
        folders.append((None, workspace.settings.slices))
    for path, folder in folders:
        parts, faults = _listed(folder)
        yield path, 1, faults
        if parts is not None:
            yield path and path.parent, len(parts), parts.verify()
            if path == workspace.slices_dir / MANIFEST and parts.key != workspace.slices_key:
                yield workspace.root / SETTINGS, 0, [f"{folder} was prepared with another salt than {SETTINGS} has"]
    for path in _named(files, TENSORS):
        faults = verify_model(path.parent) or _tried(_scores, path)
        yield path, 1, faults or _tried(lambda path: _trained(workspace, path), path)
        if (copy := path.with_name(INFO)).exists():
            yield copy, 1, _tried(_copy, copy)
    for path in _named(files, FINISHED):
        yield path, 1, _tried(lambda path: _encoding(workspace, path), path)
    for path in _named(files, CLAIM):
        if not (path.parent / FINISHED).exists():
            yield path, 1, _tried(_begun, path)
    if workspace.folds_file.exists():
        yield workspace.folds_file, 1, _tried(lambda path: _folds(workspace, path), workspace.folds_file)
    for path in sorted(workspace.root.glob("*.json")):  # the report of `prepare`
        if path.name == ORDER:
            yield path, 1, _tried(lambda path: _finished(workspace, path), path)
        elif path != workspace.folds_file:
            yield path, 1, _tried(read_json, path)
    for path in sorted(workspace.root.glob("experiments/*/label-maps/**/*.nii.gz")):
        yield path, 1, _tried(check_gzip, path)
    for path in sorted(workspace.results_dir.rglob("*.json")):
        yield path, 1, _tried(lambda path: _result(workspace, path), path)
    yield from _missing(workspace, files)


def _missing(workspace: Workspace, files: list[Path]) -> Iterator[tuple[Path, int, list[str]]]:
    """What must be there for the sake of what is; what a finished encoding needs is looked at with it."""

    def needed(folder: Path) -> bool:
        return folder.name in NEEDED and (folder.parent / FINISHED).exists()

    for folder in sorted({path.parent for path in _named(files, "*.h5")}):
        if not (folder / MANIFEST).exists() and not needed(folder):
            yield folder / MANIFEST, 0, [f"{folder / MANIFEST} is missing, and parts are there"]
    for copy in _named(files, INFO):
        if not has_model(copy.parent) and not needed(copy.parent) and not _let_go(workspace, copy.parent):
            yield copy.parent / TENSORS, 0, [f"{copy.parent / TENSORS} is missing"]
    for table in sorted(workspace.results_dir.glob("*.csv")):
        if not (document := table.with_suffix(".json")).exists():
            yield document, 0, [f"{document} is missing"]
    made = workspace.models_dir.exists() or workspace.encodings_dir.exists()
    if made and not workspace.folds_file.exists():
        yield workspace.folds_file, 0, [f"{workspace.folds_file} is missing"]


def _let_go(workspace: Workspace, folder: Path) -> bool:
    """Whether these are weights that an experiment no longer keeps: the network's scores are there."""
    place = folder.relative_to(workspace.root).parts  # experiments/<key>/models/<system>/fold-<k>
    if len(place) != 5 or (place[0], place[2]) != ("experiments", "models"):
        return False
    return has_model(workspace.root.joinpath(*place[:2], "scores", *place[3:]))


def _files(workspace: Workspace) -> list[Path]:
    """All files but unfinished ones, through links to folders too; a folder reached twice is looked at once."""
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


def _listed(folder: Path | str) -> tuple[Parts | None, list[str]]:
    """The parts and no fault, or the fault of their manifest. OutOfReachError: nothing can be said of it."""
    try:
        return Parts(folder), []
    except OutOfReachError:
        raise
    except (InputError, OSError) as error:
        return None, [str(error)]


def _tried(read: Callable[[Path], object], path: Path) -> list[str]:
    """No fault if `read` can make sense of the file, else one that names it."""
    try:
        read(path)
    except (InputError, UnicodeDecodeError) as error:
        return [str(error) if str(path) in str(error) else f"{path}: {error}"]
    except (KeyError, TypeError, AttributeError, IndexError, OSError) as error:  # JSON of another shape
        return [f"{path} must be what ildfv writes there, got {error!r}"]
    except ValueError as error:  # a table with a broken number
        return [f"{path}: {error}"]
    return []


def _folds(workspace: Workspace, path: Path) -> None:
    """The split fits the slices."""
    Folds.load(path)
    try:
        workspace.slices().scans("patient")
    except InputError:  # none, or none that can be read: a fault of their own, found with them
        return
    check_split(workspace)


def _copy(path: Path) -> None:
    """The readable copy of a model's info says what the model itself says."""
    if has_model(path.parent) and not verify_model(path.parent):
        check(read_json(path) == load_info(path.parent), f"{path} must say what {TENSORS} beside it holds")


def _trained(workspace: Workspace, path: Path) -> None:
    """A network in models/<name>/fold-<k>/ was not trained without another fold, as one copied from there was."""
    if path.parent.parent.parent != workspace.models_dir or not workspace.folds_file.exists():
        return
    trained, held_out = load_info(path.parent).get("identity"), path.parent.name
    if trained is None:  # not trained here
        return
    slices, folds = workspace.slices(), Folds.load(workspace.folds_file)
    for fold in range(folds.n_folds):
        fit = key_of(make_roles(slices, folds, fold).fit.tolist())
        other = held_out != f"fold-{fold}" and (trained["slices"], trained["fit"]) == (slices.key, fit)
        check(not other, f"{path} must be trained without {held_out}, got a network trained without fold-{fold}")


def _finished(workspace: Workspace, path: Path) -> None:
    """The order of what was finished can be read, and is of the files that are there."""
    for folder, (digest, _) in recorded(workspace).items():
        for file in (TENSORS, FINISHED):
            found = workspace.root / folder / file
            if found.exists() and sha256(found) != digest and not _damaged(found):
                raise InputError(f"{path} must list the files that are there, got another {found}")


def _damaged(path: Path) -> bool:
    """Whether the file that finishes a model or an encoding has a fault of its own, which is reported with it."""
    return bool(verify_model(path.parent) if path.name == TENSORS else _tried(read_sealed, path))


def _scores(path: Path) -> None:
    """Scores of an experiment's system, experiments/<key>/scores/<system>/fold-<k>/, are of that system and fold."""
    place = path.parts
    if place[-6:-5] + place[-4:-3] != ("experiments", "scores"):
        return
    info = load_info(path.parent)
    found = f"{key_of(info['inputs'])[:8]}/fold-{info['fold']}"
    check("/".join(place[-3:-1]).endswith(found), f"{path} must hold the scores of its folder, got those of …{found}")


def _encoding(workspace: Workspace, path: Path) -> None:
    """All that a finished encoding is made of is there."""
    encoding = Encoding(path.parent)
    if (inputs := encoding.info.get("inputs")) is not None:  # those of experiments do not say
        check((path.parent / CLAIM).exists(), f"{path.parent / CLAIM} is missing")
        claimed = read_json(path.parent / CLAIM)
        same = all(claimed[name] == value for name, value in inputs.items())
        check(same, f"{path.parent / CLAIM} must name the inputs that {FINISHED} does")
    for name in ("mixture", "pca") if path.is_relative_to(workspace.encodings_dir) else ("pca",):  # other encoders
        check(has_model(path.parent / name), f"{path.parent / name}: {TENSORS} is missing")
    for name in ("projection", "fisher") if encoding.info.get("fisher_stored") else ("projection",):
        manifest = path.parent / name / MANIFEST
        check(manifest.exists(), f"{manifest} is missing")
        found, _ = _listed(manifest.parent)  # a manifest that cannot be read is a fault of its own
        if found is not None:
            encoding.check_made(found)


def _begun(path: Path) -> None:
    """The parts of an unfinished encoding are of the slices that it was begun with."""
    slices = read_json(path).get("slices")  # those of experiments do not say
    for manifest in path.parent.glob(f"*/{MANIFEST}"):
        found, _ = _listed(manifest.parent)
        if slices is not None and found is not None:
            check(found.key == slices, f"{manifest} must be of slices {slices} as {CLAIM} says, got {found.key}")


def _result(workspace: Workspace, path: Path) -> None:
    """A result is of the kind its folder holds, and has as many slices as the table of scores beside it."""
    name = path.relative_to(workspace.results_dir).with_suffix("")
    kind = KINDS.get(name.as_posix(), KINDS.get(name.parent.as_posix().removeprefix("."), ""))
    document = read_sealed(path)
    check(document["kind"] == kind, f"{path} must be of kind {kind!r}, got {document['kind']!r}")
    check_result_name(path, document)
    if kind == KINDS[""]:
        _, scores = read_scores(workspace, name.as_posix(), document)
        check(
            scores.shape == (document["n_slices"], 4),
            f"{path.with_suffix('.csv')} must hold {document['n_slices']} slices of 4 scores, got {scores.shape}",
        )


def _advice(workspace: Workspace, path: Path | None) -> str:
    """What mends a fault in `path`."""
    if path is None:
        return f"prepare these slices again where {SETTINGS} reads them from"
    if path.name == INFO:
        return f"remove {path}, it is a copy"
    if path == workspace.root / SETTINGS:
        return f"restore {SETTINGS} from a backup, or prepare all scans into another workspace"
    if path == workspace.folds_file:
        return "restore it from a backup, or run `ildfv folds --fresh` and everything after it again"
    if path == workspace.root / ORDER:
        return "run `ildfv train` and `ildfv encode` again with the same options: what is finished is kept and listed"
    place = path.relative_to(workspace.root).parts
    if path == workspace.slices_dir / MANIFEST:
        return f"remove the folder {path.parent} and run `ildfv prepare` on all scans again"
    if place[0] == "slices":
        return "run `ildfv prepare` on its scans again: it makes anew what is damaged, and keeps the rest"
    if len(place) == 1:
        return f"remove it and run `ildfv {path.stem}` again"
    if place[0] == "experiments":  # experiments/<key>/{models, encodings}/<system>/fold-<k>
        return f"remove {workspace.root.joinpath(*place[:5])} and run `ildfv experiment` again"
    if place[:2] == ("results", "experiments"):
        return f"remove {path} and run `ildfv experiment` again"
    if place[0] == "results":
        return f"remove {path} and run again what made it, `ildfv regress` or `ildfv train`"
    folder = workspace.root.joinpath(*place[:3])
    return f"remove the folder {folder} and run `ildfv {'train' if place[0] == 'models' else 'encode'}` again"
