"""A checksummed document is read back unchanged, or refused."""

import json

import pytest

from ildfv.errors import InputError
from ildfv.store.checksummed import read_checksummed, write_checksummed

CONTENT = {"f": 0.1, "auc": None, 3: (1, 2.5), "name": "größer", "file": "caf\udce9"}


def test_a_written_document_is_read_back(tmp_path):
    write_checksummed(tmp_path / "d.json", CONTENT)
    assert read_checksummed(tmp_path / "d.json") == {
        "f": 0.1,
        "auc": None,
        "3": [1, 2.5],
        "name": "größer",
        "file": "caf\udce9",
    }


@pytest.mark.parametrize(
    "change", [{"f": 0.2}, {"auc": 0.9}, {"more": 1}, {"sha256": "0" * 64}, {"sha256": None}, {"3": [1, 2]}]
)
def test_a_changed_value_is_named(tmp_path, change):
    path = tmp_path / "d.json"
    write_checksummed(path, CONTENT)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(
        InputError, match=r"d\.json must be (intact, got a checksum mismatch|a document with a checksum)"
    ):
        read_checksummed(path)


@pytest.mark.parametrize("text", ["{}", "[]", "1", "null"])
def test_a_document_without_a_checksum_is_refused(tmp_path, text):
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(InputError, match="must be a document with a checksum, got none"):
        read_checksummed(tmp_path / "d.json")
