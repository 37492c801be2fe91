"""Kinds of files are found by path, and documents are checked against the kind of their path."""

from pathlib import PurePath

import pytest

from ildfv.errors import InputError
from ildfv.store import kinds
from ildfv.store.checksummed import write_checksummed
from ildfv.store.kinds import DocumentKind, FileKind, document_kind, kind_of, register


def remedy(root, path):
    return "run it again"


ANY = DocumentKind("any", "out/*.json", lambda values, name: values, remedy)
ONE = DocumentKind("one", "out/one.json", lambda values, name: values, remedy)
MAPS = FileKind("maps", "study/*/maps/**/*.gz", remedy)
REST = FileKind("rest", "study/**", remedy)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(kinds, "_FILES", {})
    monkeypatch.setattr(kinds, "_DOCUMENTS", {})
    register(ANY, ONE, MAPS, REST)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("out/two.json", ANY),
        ("out/one.json", ONE),
        ("out/deep/two.json", None),
        ("study/a/maps/x.gz", MAPS),
        ("study/a/maps/b/c/x.gz", MAPS),
        ("study/a/b/maps/x.gz", REST),
        ("study/a/maps/x.txt", REST),
        ("other/study/a", None),
    ],
)
def test_a_file_has_the_most_specific_kind_of_its_path(path, kind):
    assert kind_of(PurePath(path)) == kind


def test_the_order_of_registration_does_not_decide_between_a_name_and_a_wildcard(monkeypatch):
    monkeypatch.setattr(kinds, "_DOCUMENTS", {})
    register(ONE, ANY)
    assert document_kind(PurePath("out/one.json")) == ONE


def test_a_document_of_another_kind_is_refused(tmp_path):
    write_checksummed(tmp_path / "a.json", {"kind": "one", "x": 1})
    assert ONE.read(tmp_path / "a.json") == {"kind": "one", "x": 1}
    with pytest.raises(InputError, match=r"a\.json must be of kind 'any', got 'one'"):
        ANY.read(tmp_path / "a.json")
