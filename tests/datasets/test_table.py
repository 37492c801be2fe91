"""A table of scans: only the listed files are used, and each fault is reported with its row."""

import pytest
from preparing import prepare
from typer.testing import CliRunner

from ildfv.cli import app
from ildfv.datasets.identity import hashed
from ildfv.datasets.slice_store import Slices
from ildfv.datasets.table import read_table
from ildfv.errors import InputError

SALT = "0123456789abcdef"


def run(tmp_path, lines, **options):
    table = tmp_path / "scans.csv"
    table.write_text("\n".join(lines))
    return prepare(tmp_path / "s", tmp_path / "out", **({"table": table, "codes": "phantom", "salt": SALT} | options))


@pytest.fixture
def cohort(tmp_path, files, inline):
    """A series, two volume files, and label maps whose names do not show which scan they belong to."""
    for number, name in enumerate("abc"):
        hu = files.chest(seed=number)
        if name == "a":
            files.series(tmp_path / "s/a", hu, patient="P-a")
        else:
            files.nifti(tmp_path / f"s/{name}.nii.gz", hu)
        files.nifti(tmp_path / f"s/x{number}.nii.gz", files.codes(hu))
    return tmp_path


def test_scans_label_maps_and_patients_are_those_of_the_table(cohort):
    report = run(cohort, ["scan,label,patient", "a,x0.nii.gz,", "b.nii.gz,x1.nii.gz,anna"])
    assert not report.quarantined
    assert not report.ignored
    assert [(scan.source.name, [path.name for path in scan.labels]) for scan in report.prepared] == [
        ("a", ["x0.nii.gz"]),
        ("b.nii.gz", ["x1.nii.gz"]),
    ]
    assert [scan.patient for scan in report.prepared] == [hashed("P-a", SALT), hashed("anna", SALT)]
    assert set(Slices(cohort / "out").patients) == {hashed("P-a", SALT), hashed("anna", SALT)}
    assert all(scan.labelled for scan in report.prepared)


def test_the_patient_of_a_series_can_be_changed(cohort):
    run(cohort, ["scan,patient", "a,bert"])
    assert set(Slices(cohort / "out").patients) == {hashed("bert", SALT)}
    report = run(cohort, ["scan,patient", "a,carl"])
    assert [scan.kept for scan in report.prepared] == [False]
    assert set(Slices(cohort / "out").patients) == {hashed("carl", SALT)}


def test_several_label_maps_are_separated_by_semicolons(cohort, files):
    files.nifti(cohort / "s/x9.nii.gz", files.codes(files.chest(seed=1)))
    report = run(cohort, ["label,scan", "x1.nii.gz; x9.nii.gz,b.nii.gz"])
    assert [[path.name for path in scan.labels] for scan in report.prepared] == [["x1.nii.gz", "x9.nii.gz"]]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("none.nii.gz,", "a path must exist, got "),
        ("../s/b.nii.gz,", "a path must be below "),
        ("/etc/hostname,", "a path must be below "),
        (",x1.nii.gz", "a path must be below "),
        ("c.nii.gz,none.nii.gz", "a path must exist, got "),
        ("c.nii.gz,b.nii.gz", "a path must be listed once, got b.nii.gz 2 times"),
        ("c.nii.gz,wrong.nii.gz", "label map wrong.nii.gz must have shape (6, 64, 64)"),
        ("c.nii.gz,notes.txt", "label map notes.txt must be DICOM SEG, NIfTI, NRRD or MetaImage, got another kind of"),
        ("notes.txt,", "a scan must be DICOM, NIfTI, NRRD or MetaImage, got another kind of file"),
        ("empty,", "a folder must contain one usable DICOM series, got 0"),
        ("two,", "a folder must contain one usable DICOM series, got 2"),
    ],
)
def test_the_fault_of_a_row_is_named_with_its_number(cohort, files, row, fault):
    files.nifti(cohort / "s/wrong.nii.gz", files.codes(files.chest(5)))
    (cohort / "s/notes.txt").write_text("no scan")
    (cohort / "s/empty").mkdir()
    (cohort / "s/empty/notes.txt").write_text("no scan")
    for number in (1, 2):
        files.series(cohort / f"s/two/{number}", files.chest(seed=number), patient="P")
    report = run(cohort, ["scan,label", "a,x0.nii.gz", "", "b.nii.gz,", row])
    refused = {unused.reason.partition(": ")[0]: unused.reason for unused in report.quarantined}
    assert refused["row 5 of scans.csv"].startswith(f"row 5 of scans.csv: {fault}")
    assert "a" in [scan.source.name for scan in report.prepared]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must be scan and, if needed, label, patient, lung, separated by commas, got none"),
        ("scan;label\na;b", "got semicolons"),
        ("scan,labels\na,b", 'column "labels" may mean label: rename or delete it'),
        ("scan,Patient-ID\na,b", 'column "patient id" may mean patient: rename or delete it'),
        ("file,label\na,b", "got file, label"),
        ("scan,scan\na,b", "got scan, scan"),
        ("scan,label\na", r"row 2 of .* must have one cell per column \(2\), got 1"),
        ("scan,label\n", "must list at least one scan"),
        ('scan\n"a', "must be CSV in UTF-8"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused(tmp_path, text, fault):
    (tmp_path / "scans.csv").write_text(text)
    with pytest.raises(InputError, match=fault):
        read_table(tmp_path / "scans.csv", tmp_path)


def test_the_folder_of_the_table_is_the_default(cohort):
    (cohort / "s/scans.csv").write_bytes("scan,label,patient\r\nb.nii.gz,x1.nii.gz,Änne\r\n".encode("utf-8-sig"))
    ended = CliRunner().invoke(app.app, ["prepare", "--table", str(cohort / "s/scans.csv"), "-w", str(cohort / "w")])
    assert ended.exit_code == 0, ended.output
    assert "1 scan of 1 patient" in ended.output


def test_other_columns_are_listed_and_not_used(cohort):
    (cohort / "s/scans.csv").write_text("age,scan,Notes,label\n71,b.nii.gz,,x1.nii.gz\n")
    ended = CliRunner().invoke(app.app, ["prepare", "--table", str(cohort / "s/scans.csv"), "-w", str(cohort / "w")])
    assert ended.exit_code == 0, ended.output
    assert 'note: columns of scans.csv that are not used (2): "age", "Notes"' in ended.output


def test_neither_scans_nor_table_is_refused(tmp_path):
    ended = CliRunner().invoke(app.app, ["prepare", "-w", str(tmp_path / "w")])
    assert "needs a folder of scans or --table" in str(ended.exception)
