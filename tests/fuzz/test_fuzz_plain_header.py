"""Corrupted headers have the same outcome, whether or not a plain header is read without pydicom."""

import re

import mutations
import numpy as np
from scan_files import ScanFiles

from ildfv.errors import InputError
from ildfv.scans import read_header as module
from ildfv.scans.libraries import quiet
from ildfv.scans.plain_header import plain_header

CASES = 300


def outcome(path):
    try:  # only a plain header says where the pixels are
        return re.sub(r"words=(None|Words\(.*?mtime_ns=\d+\))", "", repr(module.read_header(path)))
    except InputError as error:
        return str(error)


def test_corrupted_headers_have_the_same_outcome_with_and_without_pydicom(tmp_path, monkeypatch):
    original = ScanFiles.series(tmp_path, ScanFiles.chest(1), series="1.2.3", patient="P-1")[0].read_bytes()
    path, plain = tmp_path / "corrupted.dcm", 0

    def counted(*given):
        nonlocal plain
        found = plain_header(*given)
        plain += found is not None
        return found

    with quiet():
        for number in range(CASES):
            path.write_bytes(mutations.dicom(original, np.random.default_rng([7, number])))
            monkeypatch.setattr(module, "plain_header", counted)
            with_plain = outcome(path)
            monkeypatch.setattr(module, "plain_header", lambda *_: None)
            assert with_plain == outcome(path), number
    assert 0.1 * CASES < plain < CASES
