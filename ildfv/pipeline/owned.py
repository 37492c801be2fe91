"""Exclusive use of an encoding's folder while it is written. The settings fingerprint in the folder must match."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from ildfv import distributed
from ildfv.errors import InputError
from ildfv.pipeline.descriptors import FOLDER as DESCRIPTORS
from ildfv.store.atomic import sweep
from ildfv.store.fingerprint import FINGERPRINT, empty, match_fingerprint
from ildfv.store.lock import writing


@contextmanager
def owned(folder: Path, inputs: dict, measured: dict, *, fresh: bool) -> Iterator[dict]:
    """Locks the folder and checks its fingerprint on rank 0. The other ranks wait, and raise the same error.

    Yields the stored values of `measured`, such as the batch size. In a resumed run, they are those of the first run.
    If the block raises InputError before a model of the encoder is saved, the fingerprint that this run wrote and all
    other content are removed. There is nothing to resume, and a run with corrected settings would not match the
    fingerprint.
    """
    path = folder / FINGERPRINT
    earlier = path.read_bytes() if path.exists() else None
    with writing(folder) if distributed.is_main() else nullcontext():
        stored: dict | InputError = {}
        if distributed.is_main():
            try:
                sweep(folder)
                stored = match_fingerprint(folder, inputs, fresh=fresh, measured=measured)
            except InputError as error:
                stored = error
        stored = distributed.from_main(stored)
        if isinstance(stored, InputError):
            raise stored
        try:
            yield stored
        except InputError:
            if distributed.is_main() and path.read_bytes() != earlier and not _is_started(folder):
                empty(folder)
                path.unlink()
            raise


def _is_started(folder: Path) -> bool:
    """Whether the folder has a model or parts. Parameters of descriptors do not count, because fitting them is fast."""
    return any(any(child.iterdir()) for child in folder.iterdir() if child.is_dir() and child.name != DESCRIPTORS)
