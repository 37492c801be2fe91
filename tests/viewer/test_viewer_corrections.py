"""The viewer: labels that a reader corrects, as a file that `ildfv prepare --labels` reads."""

import json
import stat

import pytest
from viewer_support import SLICES, client, start_of

from ildfv.errors import InputError
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.workspace import Workspace
from ildfv.viewer.study import open_study

pytest.importorskip("httpx")  # needed by the test client of Starlette
TestClient = pytest.importorskip("starlette.testclient").TestClient


def correct(one, scan, z, values, **headers):
    return one.post(
        f"api/scan/{scan}/corrections/{z}",
        content=json.dumps(values),
        headers={"content-type": "application/json"} | headers,
    )


def test_prepare_reads_the_corrections(workspace, prepared):
    with client(workspace) as one:
        assert one.get("api/scan/0").json()["correctable"] is True
        assert correct(one, 0, 1, [None, None, 0, None]).json() == {"file": "corrections.csv"}
        assert correct(one, 0, 2, [1, 0, 0, 1]).status_code == 200
        assert correct(one, 1, 4, [0, 0, 1, 0]).status_code == 200
        assert one.get("api/scan/0/corrections").json() == {"1": [None, None, 0, None], "2": [1, 0, 0, 1]}
    file = workspace / "corrections.csv"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    prepare_scans(prepared[1], workspace, labels=file, workers=1)
    slices = Workspace.open(workspace).slices()
    absent, present, unknown = 0, 2**30, -1
    assert slices.counts[1].tolist() == [unknown, unknown, absent, unknown]
    assert slices.counts[2].tolist() == [present, absent, absent, present]
    assert slices.counts[SLICES + 4].tolist() == [absent, absent, present, absent]
    assert (slices.counts[0] == unknown).all()


def test_a_second_round_keeps_the_labels_of_the_first(workspace, prepared):
    with client(workspace) as one:
        correct(one, 0, 1, [1, 0, 0, 0])
        correct(one, 0, 2, [0, 1, 0, 0])
    prepare_scans(prepared[1], workspace, labels=workspace / "corrections.csv", workers=1)
    (workspace / "corrections.csv").unlink()
    with client(workspace) as one:
        assert one.get("api/scan/0").json()["truth"][1] == [1, 0, 0, 0]
        assert one.get("api/scan/0/corrections").json() == {}  # nothing differs from the workspace
        correct(one, 0, 1, [1, 0, 1, 0])
        assert one.get("api/scan/0/corrections").json() == {"1": [1, 0, 1, 0]}
    prepare_scans(prepared[1], workspace, labels=workspace / "corrections.csv", workers=1)
    found = open_study([workspace]).scans[0].truth
    assert found[1].tolist() == [1, 0, 1, 0]
    assert found[2].tolist() == [0, 1, 0, 0]


def test_a_correction_can_be_undone(workspace):
    with client(workspace) as one:
        correct(one, 0, 1, [1, 0, 0, 0])
        assert correct(one, 0, 1, None).status_code == 200
        assert one.get("api/scan/0/corrections").json() == {}
    assert (workspace / "corrections.csv").read_text().count("\n") == 1


def test_corrections_of_an_earlier_viewer_are_kept(workspace):
    with client(workspace) as one:
        correct(one, 0, 1, [1, 0, 0, 0])
    with client(workspace) as one:
        correct(one, 1, 1, [0, 0, 0, 1])
        assert one.get("api/scan/0/corrections").json() == {"1": [1, 0, 0, 0]}


def test_two_tabs_see_each_others_corrections(workspace):
    with client(workspace) as one:
        before = one.get("api/alive").json()
        correct(one, 0, 1, [1, 0, 0, 0])
        assert one.get("api/alive").json() != before


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([1, 0, 0], 422),
        ([2, 0, 0, 0], 422),
        (["1", 0, 0, 0], 422),
        ([True, 0, 0, 0], 422),
        ({"a": 1}, 422),
        ([[]] * 4, 422),
    ],
)
def test_values_that_are_no_labels_are_refused(values, status, workspace):
    with client(workspace) as one:
        assert correct(one, 0, 0, values).status_code == status
    assert not (workspace / "corrections.csv").exists()


def test_a_correction_of_another_page_or_form_is_refused(workspace):
    with client(workspace) as one:
        assert correct(one, 0, 0, [1, 0, 0, 0], origin="http://evil.example").status_code == 403
        assert one.post("api/scan/0/corrections/0", data={"a": "b"}).status_code == 415
        assert correct(one, 0, 0, ["x" * 5000]).status_code == 413
        assert one.get("api/scan/0/corrections/0").status_code == 405
        assert correct(one, 0, SLICES, [1, 0, 0, 0]).status_code == 422
        assert (
            one.post("api/scan/0/corrections/0", content="{", headers={"content-type": "application/json"}).status_code
            == 422
        )
    assert not (workspace / "corrections.csv").exists()


def test_a_correction_that_cannot_be_written_gives_a_one_line_error(workspace, monkeypatch):
    def refused(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("ildfv.viewer.corrections.write_bytes", refused)
    with client(workspace) as one:
        answer = correct(one, 0, 0, [1, 0, 0, 0])
        assert (answer.status_code, answer.json()) == (422, {"error": "corrections.csv: Permission denied"})
        assert one.get("api/scan/0/corrections").json() == {}


def test_a_report_that_was_removed_gives_a_one_line_error(workspace):
    (workspace / "report.html").write_text("<body></body>")
    with client(workspace) as one:
        (workspace / "report.html").unlink()
        assert one.get("report").json() == {"error": "report.html: No such file or directory"}


def test_a_scan_with_a_label_map_is_not_corrected(scans, tmp_path):
    prepare_scans(scans, tmp_path / "w", workers=1)
    with client(tmp_path / "w") as one:
        scan = one.get("api/scan/0").json()
        assert scan["correctable"] is False
        assert "label map" in scan["not_correctable"]
        assert correct(one, 0, 0, [1, 0, 0, 0]).status_code == 422


def test_a_file_of_another_kind_is_not_overwritten(workspace, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="must be a file of corrections"):
        open_study([workspace], corrections=mine)
    assert mine.read_text() == "a,b\n1,2\n"


def test_scans_are_corrected_only_into_a_file_that_is_named(scan, tmp_path):
    with client(scan) as one:
        assert start_of(one)["study"]["corrections"] is False
        assert correct(one, 0, 0, [1, 0, 0, 0]).status_code == 404
    with client(scan, corrections=tmp_path / "own.csv") as one:
        assert correct(one, 0, 0, [1, 0, 0, 0]).status_code == 200
    assert (tmp_path / "own.csv").exists()
