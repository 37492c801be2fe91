"""`prepare` with its settings as keyword arguments, and the code table by file or name."""

from ildfv.datasets.prepare import prepare as prepare_with_settings
from ildfv.datasets.settings import ScanSettings
from ildfv.progress import SILENT
from ildfv.scans.labels import Codes


def prepare(scans, out, *, salt, codes=None, workers=None, progress=SILENT, **settings):
    given = ScanSettings(codes=None if codes is None else Codes.load(codes), **settings)
    return prepare_with_settings(scans, out, given, salt=salt, workers=workers, progress=progress)
