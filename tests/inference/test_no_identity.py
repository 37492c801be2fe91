"""Outputs and messages contain no identity of a patient: no identifiers, and no names of files and folders."""

import os
import re
import sys
from pathlib import Path

import nibabel
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles

from ildfv.cli.app import app
from ildfv.errors import InputError
from ildfv.inference.anonymous import without_names
from ildfv.inference.inbox import predict_all
from ildfv.scans.libraries import format_error

SECRET = "CANARY-7731"


@pytest.mark.slow  # six predictions with all files; the fast suite looks for identities in those of one scan
@pytest.mark.parametrize("keep", [False, True])
def test_identity_is_in_outputs_only_with_keep_identity(folder, tmp_path, keep):
    scan = tmp_path / "in" / "scan" / SECRET
    ScanFiles.series(
        scan, ScanFiles.chest(), patient=SECRET, PatientName=f"{SECRET}^X", StudyID=SECRET, AccessionNumber=SECRET,
        InstitutionName=SECRET, StudyInstanceUID="1.2.7731.5", series="1.2.7731.6",
    )  # fmt: skip
    ScanFiles.nifti(tmp_path / "in" / "other" / f"{SECRET}.nii.gz", ScanFiles.chest(seed=3))
    bad = tmp_path / "in" / "bad" / SECRET
    bad.mkdir(parents=True)
    (bad / f"{SECRET}.nii.gz").write_bytes(b"x")
    ScanFiles.series(tmp_path / "in" / "two", ScanFiles.chest(4), patient=SECRET)
    options = ["--predictor", str(folder), "--out", str(tmp_path / "out"), "-v", *(["--keep-identity"] * keep)]
    sources = [str(tmp_path / "in" / name) for name in ("scan", "other", "bad")]
    result = CliRunner().invoke(app, ["predict", *sources, *options])
    assert result.exit_code == 1, result.output
    shown = CliRunner().invoke(app, ["predict", *sources, *options, "--json"]).output
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert len(written) > 20
    content = [p.read_bytes() for p in written if p.suffix != ".gz"]
    found = [
        SECRET in text for text in (result.output, shown, *(str(p.relative_to(tmp_path / "out")) for p in written))
    ]
    found += [secret in one for secret in (SECRET.encode(), b"1.2.7731.5", b"1.2.7731.6") for one in content]
    assert any(found) == keep


def test_names_of_files_are_left_out_of_reasons(tmp_path):
    (tmp_path / "DOE^JOHN").mkdir()
    (tmp_path / "DOE^JOHN" / "DOE 1.dcm").write_bytes(b"")
    text = f"{tmp_path}/DOE^JOHN: DOE 1.dcm must be readable, got none"
    assert without_names(text, tmp_path) == f"{tmp_path}/…: … must be readable, got none"
    assert without_names("nothing", tmp_path / "missing") == "nothing"


@pytest.mark.parametrize(
    "name",
    ["DOE\x01JOHN.dcm", "DOE\nJOHN.dcm", "DOE  JOHN.dcm", "DOE\\JOHN.dcm", "DOE'JOHN.dcm", os.fsdecode(b"DOE\xffJOHN")],
)
def test_names_are_left_out_in_every_form_in_which_messages_contain_them(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    for error in (InputError(f"got {name}"), InputError(f"got {name!r}"), InputError(format_error(ValueError(name)))):
        text = without_names(str(error), tmp_path)
        assert "…" in text
        assert not re.search("DOE|JOHN", text)


def test_a_name_that_an_error_message_cuts_is_left_out(tmp_path):
    (tmp_path / f"{SECRET}.dcm").write_bytes(b"")
    text = format_error(ValueError("x" * (300 - len("ValueError: ") - len(SECRET)) + f" {SECRET}.dcm"))
    assert text.endswith("CANARY-77…")
    assert "CANARY" not in without_names(f"{text}: convert it", tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (f"{SECRET}.hdr", nibabel.nifti1.Nifti1PairHeader().binaryblock),
        ("a.mhd", f"ObjectType = Image\nNDims = 3\nElementDataFile = {SECRET}.raw\n".encode()),
        (
            "a.nhdr",
            f"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: raw\ndata file: {SECRET}.raw\n\n".encode(),
        ),
    ],
)
def test_the_name_of_a_missing_data_file_is_left_out(folder, tmp_path, name, content):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    ScanFiles.series(tmp_path / "in" / "ok", ScanFiles.chest(2))
    _, failed = predict_all([tmp_path / "in"], folder)
    assert "data file" in failed[0]["reason"] or "ElementDataFile" in failed[0]["reason"]
    assert SECRET not in str(failed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{0}/p2/JD/1 must be CT, got MR", "{0}/…/…/… must be CT, got MR"),
        ("p2/JD/1: 1 must be one of 1, 2 or 12", "…/…/…: … must be one of 1, 2 or 12"),
        ("JD and p2 must be in a folder of CT scans", "… and … must be in a folder of CT scans"),
        ("{0}/CT: 1: Modality must be CT in 1 file", "{0}/…: …: Modality must be CT in 1 file"),
        ("{0}/a b: a must exist in {0}", "{0}/…: … must exist in {0}"),
        ("the series are 1: 300 slices; 2: 60 slices", "the series are 1: 300 slices; 2: 60 slices"),
        ("{0}x/p22 and p2_1", "{0}x/p22 and p2_1"),
        ("ct7.hdr needs ct7.img, 1.25 mm apart", "… needs …, 1.25 mm apart"),
    ],
)
def test_short_names_are_left_out_where_they_name_a_file(tmp_path, text, expected):
    (tmp_path / "p2" / "JD").mkdir(parents=True)
    for name in ("p2/JD/1", "p2/JD/2", "CT", "a", "a b", "ct7.hdr", "1.dcm"):
        (tmp_path / name).write_bytes(b"")
    assert without_names(text.format(tmp_path), tmp_path) == expected.format(tmp_path)


def test_a_patient_folder_with_a_short_name_is_in_no_message(folder, tmp_path):
    (tmp_path / "in" / "p2").mkdir(parents=True)
    (tmp_path / "in" / "p2" / "q7").write_bytes(b"\0" * 128 + b"DICM")
    ScanFiles.series(tmp_path / "in" / "ok", ScanFiles.chest(2))
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "in"), "--predictor", str(folder), "-v"])
    assert result.exit_code == 1, result.output
    assert not re.search(r"\b(p2|q7)\b", result.output)
