"""`prepare` with its settings as keyword arguments, and without worker processes."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ildfv.datasets.prepare import prepare as prepare_with_settings
from ildfv.datasets.settings import ScanSettings
from ildfv.progress import SILENT
from ildfv.scans.labels import Codes


def prepare(scans, out, *, salt, codes=None, workers=None, progress=SILENT, **settings):
    given = ScanSettings(codes=None if codes is None else Codes.load(codes), **settings)
    return prepare_with_settings(scans, out, given, salt=salt, workers=workers, progress=progress)


@contextmanager
def in_this_process() -> Iterator[None]:
    """Prepares scans in this process: starting worker processes takes a second, and other tests cover them."""

    def as_completed(function, tasks, workers=None):
        yield from ((i, function(task)) for i, task in enumerate(tasks))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ildfv.datasets.prepare_run.as_completed", as_completed)
        yield
