"""`prepare` lists and counts the scans of earlier runs that it removed from the workspace."""

import json

import pytest
from typer.testing import CliRunner

from ildfv.cli.app import app

REMOVED = [
    {"series": "0123456789abcdef", "slices": 24, "labelled": True, "reason": "a scan must be given once"},
    {"series": "fedcba9876543210", "slices": 1, "labelled": False, "reason": "its part was corrupt"},
]


@pytest.fixture
def prepared(monkeypatch, tmp_path):
    """`prepare` with the report of a run that removed two scans."""
    counts = {"scans": 1, "patients": 1, "slices": 6, "labelled_slices": 0}
    report = {**counts, "kept": 0, "codes": None, "notes": [], "workspace": counts, "prepared": [], "quarantined": []}
    report |= {"ignored": [], "removed": REMOVED, "removed_scans": 2, "removed_slices": 25}
    monkeypatch.setattr("ildfv.pipeline.prepare.prepare_scans", lambda *_, **__: report)
    return str(tmp_path)  # a folder that exists


@pytest.mark.parametrize("options", [[], ["--no-paths"]])
def test_removed_scans_are_listed_and_counted(prepared, options):
    shown = CliRunner().invoke(app, ["prepare", prepared, *options]).output
    for one in REMOVED:
        assert one["series"] in shown
        assert (one["reason"] in shown) == (not options)
    assert "note: 2 scans and 25 slices of earlier runs were removed from the workspace." in shown


def test_removed_scans_are_in_the_json(prepared):
    document = json.loads(CliRunner().invoke(app, ["prepare", prepared, "--json"]).output)
    assert document["removed"] == REMOVED
    assert (document["removed_scans"], document["removed_slices"]) == (2, 25)
