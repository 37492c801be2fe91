"""Corrupted headers give a scan or one line of error.

ILDFV_FUZZ_SECONDS sets the duration of the slow test: 20 by default, 120 in `make test-slow`. To run for an hour and
keep the findings: `python tests/fuzz/headers.py --seconds 3600 --keep findings`.
"""

import os

import headers
import mutations
import numpy as np
import pytest

from ildfv.errors import InputError

SECONDS = float(os.environ.get("ILDFV_FUZZ_SECONDS", "20"))
MAX_CASES = 12_000  # limits the cases to the same ones on every machine; they take about five minutes on a slow one


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    headers.write_originals(folder)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_corrupted_headers_give_a_scan_or_one_line():
    cases, findings = headers.fuzz(SECONDS, seed=0, most=MAX_CASES)
    assert findings == []
    assert cases > min(MAX_CASES, SECONDS) / 10  # about 40 per second are usual; without cases the test is meaningless


@pytest.mark.parametrize("name", headers.SPOILT)
def test_a_case_depends_on_its_number_only_and_corrupts_its_file(name, originals, tmp_path):
    spoilt = set()
    for round_ in (10, 11, 12):  # several rounds, because a mutation may set a field to its present value
        number = round_ * len(headers.SPOILT) + list(headers.SPOILT).index(name)
        folders = [tmp_path / f"{round_}-{copy}" for copy in ("one", "two")]
        for folder in folders:
            folder.mkdir()
            headers.write_case(originals, folder, 0, number)
        for path in folders[0].iterdir():
            assert path.read_bytes() == (folders[1] / path.name).read_bytes()
        spoilt.add((folders[0] / name.rpartition("/")[2]).read_bytes())
    assert spoilt != {(originals / name).read_bytes()}


def test_all_elements_of_a_dicom_header_are_found(originals):
    pydicom = pytest.importorskip("pydicom")
    path = originals / "dicom/slice.dcm"
    elements = mutations._dicom_elements(path.read_bytes())
    dataset = pydicom.dcmread(path)
    assert len(elements) == len(dataset.file_meta) + len(dataset)
    assert elements[-1].stop == path.stat().st_size


@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError()])
def test_an_error_of_any_other_kind_is_a_finding(error, originals, monkeypatch):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("ildfv.datasets.convert.scan_slices", broken)
    assert type(error).__name__ in headers.fault_of(originals / "nifti")["what"]


@pytest.mark.parametrize(("reason", "finding"), [("must be CT", False), ("got MemoryError", True)])
def test_an_input_error_is_a_finding_only_if_memory_ran_out(reason, finding, originals, monkeypatch):
    def refused(*_, **__):
        raise InputError(reason)

    monkeypatch.setattr("ildfv.datasets.convert.scan_slices", refused)
    assert (headers.fault_of(originals / "nrrd") is not None) == finding


def test_a_case_that_hangs_is_a_finding_and_later_cases_are_run(tmp_path, monkeypatch):
    command = "import json, sys; n = int(sys.argv[sys.argv.index('--first') + 1]); print(json.dumps({'at': n})); "
    child = tmp_path / "child.py"
    child.write_text(command + "sys.exit(3 if n == 5 else 0)")
    monkeypatch.setattr(headers, "__file__", str(child))
    monkeypatch.setattr(headers, "write_originals", lambda folder: None)
    cases, (finding,) = headers.fuzz(1.0, first=5)
    assert finding["case"] == 5
    assert finding["what"].startswith("ended with 3")
    assert cases > 1


def test_mutations_depend_on_the_generator_only(originals):
    data = (originals / "nifti/scan.nii").read_bytes()
    one, two = (mutations.nifti(data, np.random.default_rng(3)) for _ in range(2))
    assert one == two
