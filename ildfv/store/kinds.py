"""Registry of the kinds of files that packages write into a workspace, which `verify` and `report` use.

A package registers its kinds when its `kinds` module is imported; `ildfv.pipeline.kinds` imports those modules. A file
belongs to the first registered kind whose pattern matches its path. Kinds of documents take precedence over others, and
among them, patterns without wildcards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ildfv.errors import check
from ildfv.store.checksummed import read_checksummed


@dataclass(frozen=True)
class FileKind:
    """Files of one purpose.

    pattern: the paths of the files below the workspace, as for `Path.glob`. remedy(workspace, file): the end of a
    message that states how to restore a damaged file. check(workspace, file): raises InputError if the file is damaged
    or in the wrong place; None if only its format is checked. may_lack(workspace, folder): whether a user may have
    removed the model of this folder on purpose.
    """

    name: str
    pattern: str
    remedy: Callable[[Path, Path], str]
    check: Callable[[Path, Path], None] | None = None
    may_lack: Callable[[Path, Path], bool] = lambda workspace, folder: False


@dataclass(frozen=True)
class DocumentKind:
    """Checksummed JSON documents whose field "kind" is `name`.

    pattern, remedy: as for `FileKind`. load(values, name=…): the typed document; InputError if `values` violate the
    schema. check(workspace, file, document): raises InputError if the document contradicts other files. in_report:
    whether the documents are tables that the report shows; these have a `key` of the slices and folds that they were
    made from.
    """

    name: str
    pattern: str
    load: Callable[..., Any]
    remedy: Callable[[Path, Path], str]
    check: Callable[[Path, Path, Any], None] = lambda workspace, file, document: None
    in_report: bool = False

    def read(self, path: Path) -> Any:
        """The typed document in `path`. Raises `InputError` if it is corrupt, of another kind or of another schema."""
        values = read_checksummed(path)
        kind = values.get("kind")
        check(kind == self.name, f"{path} must be of kind {self.name!r}, got {kind!r}")
        return self.load(values, name=str(path))


_FILES: dict[str, FileKind] = {}
_DOCUMENTS: dict[str, DocumentKind] = {}


def register(*kinds: FileKind | DocumentKind) -> None:
    """Adds kinds of files. A kind replaces an earlier kind with the same name."""
    for kind in kinds:
        if isinstance(kind, DocumentKind):
            _DOCUMENTS[kind.name] = kind
        else:
            _FILES[kind.name] = kind


def file_kinds() -> list[FileKind]:
    """The registered kinds of files other than documents."""
    return list(_FILES.values())


def document_kinds() -> list[DocumentKind]:
    """The registered kinds of documents."""
    return list(_DOCUMENTS.values())


def document_kind(path: PurePath) -> DocumentKind | None:
    """The kind that a document at this path below the workspace must have; None if no kind is registered for it."""
    matching = [kind for kind in _DOCUMENTS.values() if _matches(path, kind.pattern)]
    return min(matching, key=lambda kind: "*" in kind.pattern, default=None)


def kind_of(path: PurePath) -> FileKind | DocumentKind | None:
    """The registered kind of the file at this path below the workspace."""
    files = (kind for kind in _FILES.values() if _matches(path, kind.pattern))
    return document_kind(path) or next(files, None)


def _matches(path: PurePath, pattern: str) -> bool:
    """Whether the whole path matches the pattern; a part "**" stands for any number of folders."""
    return _parts_match(path.parts, PurePath(pattern).parts)


def _parts_match(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether the folders and the file name match those of the pattern, one by one."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return _parts_match(path, pattern[1:]) or (bool(path) and _parts_match(path[1:], pattern))
    return bool(path) and PurePath(path[0]).match(pattern[0]) and _parts_match(path[1:], pattern[1:])
