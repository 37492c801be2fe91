"""A PatientID is read as text of its character set, or refused: never with replaced characters."""

import pytest

from ildfv.scans.read_header import read_header

UMLAUT = "M\u00fcller7"


def header(folder, files, raw: bytes, charset):
    """The header of a slice whose PatientID has these bytes."""
    tags = {} if charset is None else {"SpecificCharacterSet": charset}
    (path,) = files.series(folder, files.chest(1), patient="X" * len(raw), **tags)
    path.write_bytes(path.read_bytes().replace(b"X" * len(raw), raw))
    found = read_header(path)
    assert found.problem is None
    return found


@pytest.mark.parametrize(
    ("raw", "charset"),
    [
        (UMLAUT.encode("latin-1") + b" ", "ISO_IR 100"),
        (UMLAUT.encode("latin-1") + b" ", ["ISO 2022 IR 100", "ISO 2022 IR 101"]),
        (UMLAUT.encode("iso8859-2") + b" ", "ISO_IR 101"),
        (UMLAUT.encode("utf-8"), "ISO_IR 192"),
        ("Mu\u0308ller7".encode() + b" ", "ISO_IR 192"),
        (UMLAUT.encode("gb18030"), "GB18030"),
    ],
)
def test_an_id_has_the_same_text_in_all_character_sets(tmp_path, files, raw, charset):
    raw += b" " * (len(raw) % 2)
    found = header(tmp_path, files, raw, charset)
    assert (found.patient, found.patient_fault) == (UMLAUT, "")


@pytest.mark.parametrize("letter", ["\u00fc", "\u00f6"])
@pytest.mark.parametrize(
    ("encoding", "charset"),
    [
        ("latin-1", "ISO_IR 192"),  # not UTF-8
        ("latin-1", None),  # not ASCII
        ("latin-1", ""),
        ("latin-1", "ISO_IR 6"),
        ("latin-1", "ISO_IR 999"),  # an unknown set
        ("utf-8", "ISO_IR 100"),  # UTF-8, which has other letters in this set
        ("utf-8", None),
        ("latin-1", ["ISO 2022 IR 6", "ISO 2022 IR 100"]),  # no letter of the first set, and no escape sequence
        ("latin-1", ["", "ISO 2022 IR 87"]),
    ],
)
def test_an_id_outside_its_character_set_is_refused(tmp_path, files, letter, encoding, charset):
    raw = f"M{letter}ller77".encode(encoding)
    found = header(tmp_path, files, raw + b" " * (len(raw) % 2), charset)
    assert found.patient == ""
    assert "PatientID must be text in the declared character set" in found.patient_fault
    assert "--patient-from" in found.patient_fault
    assert "ller" not in found.patient_fault


@pytest.mark.parametrize("charset", [None, "ISO_IR 100", "ISO_IR 192", "ISO_IR 999"])
def test_ascii_ids_do_not_depend_on_the_character_set(tmp_path, files, charset):
    assert header(tmp_path, files, b"P-0017 ", charset).patient == "P-0017"


@pytest.mark.parametrize("raw", ["", None])
def test_an_empty_id_is_not_accepted_as_an_identity(tmp_path, files, raw):
    (path,) = files.series(tmp_path, files.chest(1), PatientID=raw)
    assert read_header(path).patient_fault.startswith("PatientID must not be empty, because folds are split by patient")


def test_japanese_ids_with_escape_sequences_are_text(tmp_path, files):
    raw = b"ID\x1b$B;3ED\x1b(B1 "
    assert header(tmp_path, files, raw + b" " * (len(raw) % 2), ["", "ISO 2022 IR 87"]).patient == "ID\u5c71\u75301"
