"""The server of the viewer: access, responses, and errors for damaged or missing files."""

import gzip
import json
import shutil
import stat
from typing import ClassVar

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless
from scan_files import ScanFiles
from viewer_support import HOST, SLICES, TOKEN, client, make_prediction, start_of

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.errors import InputError
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.workspace import Workspace
from ildfv.viewer.case import Case
from ildfv.viewer.images import Cached, recovered
from ildfv.viewer.similar_cases import Similar
from ildfv.viewer.study import open_study

pytest.importorskip("httpx")  # needed by the test client of Starlette
TestClient = pytest.importorskip("starlette.testclient").TestClient


@pytest.fixture(scope="module")
def page(scan, prediction):
    with client(prediction, scan, codes="phantom") as one:
        yield one


def plane(answer, dtype, shape):
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, dtype).reshape(shape)


# -- who may read


@pytest.mark.parametrize(
    "path", ["", "wrong/", "wrong/api/case/0", "secret-toke/", "api/case/0", "static/app.js", "é/"]
)
def test_without_the_token_nothing_is_served(path, page):
    other = TestClient(page.app, base_url=f"http://{HOST}/")
    answer = other.get(path)
    assert answer.status_code == 403
    assert "address is not valid" in answer.text
    assert TOKEN not in answer.text


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1:9", "127.0.0.1", ""])
def test_another_host_name_is_refused(host, page):
    assert page.get("", headers={"host": host}).status_code == 403


def test_a_request_of_another_page_is_refused(page):
    assert page.get("api/case/0", headers={"origin": "http://evil.example"}).status_code == 403
    assert page.get("api/case/0", headers={"origin": f"http://{HOST}"}).status_code == 200


@pytest.mark.parametrize("path", ["", "static/app.js", "api/case/0", "api/case/0/slice/0", "api/case/9", "nothing"])
def test_every_answer_has_a_strict_policy_and_is_not_stored(path, page):
    headers = page.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_refusal_has_the_policy_too(page):
    answer = TestClient(page.app, base_url=f"http://{HOST}/").get("wrong/")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_the_address_without_its_last_slash_is_redirected(page):
    answer = TestClient(page.app, base_url=f"http://{HOST}").get(f"/{TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (308, f"/{TOKEN}/")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_reading_is_allowed(method, page):
    for path in ("", "api/case/0", "api/case/0/slice/0", "static/app.js"):
        assert page.request(method, path).status_code == 405


@pytest.mark.parametrize(
    "path",
    ["static/../case.py", "static/..%2fcase.py", "static/%2e%2e/case.py", "static//etc/passwd", "static/", "../x"],
)
def test_no_path_leads_out_of_the_static_files(path, page):
    answer = page.get(path)
    assert answer.status_code in (403, 404)
    assert "import" not in answer.text
    assert "root:" not in answer.text


def test_pages_load_nothing_from_elsewhere(page):
    for name in ("", *(f"static/{file}" for file in ("app.js", "style.css", "viewport.js", "report.js", "pane.js"))):
        text = page.get(name).text
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
        assert "<style" not in text
        assert " style=" not in text


# -- what it serves


def test_slices_are_the_scans_own_hounsfield_units(page, scan):
    case = page.get("api/case/0").json()
    shape = (case["rows"], case["columns"])
    volume = read_volume(discover(scan, labels=False, workers=1).scans[0])
    assert case["slices"] == len(volume.hu) == SLICES
    np.testing.assert_allclose(case["positions"], volume.positions, atol=1e-3)
    for z in range(SLICES):
        np.testing.assert_array_equal(plane(page.get(f"api/case/0/slice/{z}"), "<i2", shape), volume.hu[z])


def test_several_slices_are_served_one_after_the_other(page):
    single = b"".join(page.get(f"api/case/0/slice/{z}").content for z in (1, 2, 3))
    assert page.get("api/case/0/slice/1?count=3").content == single
    for count in ("0", "5", "9", "-1", "x", "²"):
        assert page.get(f"api/case/0/slice/1?count={count}").status_code == 404


def test_a_volume_file_and_a_dicom_series_give_equal_slices(page, scan, tmp_path):
    import nibabel

    volume = read_volume(discover(scan, labels=False, workers=1).scans[0])
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.vstack(
        [np.column_stack([volume.geometry.steps[::-1].T, volume.origin]), [0, 0, 0, 1]]
    )
    flipped = volume.hu.transpose(2, 1, 0)[::-1]  # another storage order: x to the patient's right
    affine[:3, 3] += affine[:3, 0] * (len(flipped) - 1)
    affine[:3, 0] *= -1
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(flipped), affine), tmp_path / "scan.nii.gz")
    with client(tmp_path / "scan.nii.gz") as other:
        assert other.get("api/case/0/slice/2").content == page.get("api/case/0/slice/2").content


def test_maps_have_the_sign_and_place_of_the_contributions(page):
    case = page.get("api/case/0").json()
    assert [(one["kind"], one["pattern"]) for one in case["maps"]] == [
        (kind, c) for kind in ("contributions", "cam") for c in range(4)
    ]
    assert case["maps"][0]["title"] == "Contributions to the score of fv-conv1"
    grid = page.get("api/case/0/map/0").json()
    values = plane(page.get("api/case/0/map/0/2"), np.int8, (grid["rows"], grid["columns"]))
    scale = 64 / 224
    y, left, right = int(80 * scale), int(80 * scale), int(150 * scale)  # columns on the screen's left and right
    assert values[y, left] == 127
    assert values[y, right] < -40
    assert values[5, 5] == 0
    # 0.001 per input pixel, which has the area of (64/224)² pixels of the scan
    per_cm2 = 1e-3 / ((64 / 224 * case["pixel"]) ** 2 / 100)
    assert grid["scale"] == pytest.approx(per_cm2, rel=0.05)


def test_label_maps_are_served_with_codes_of_patterns(page):
    case = page.get("api/case/0").json()
    found = np.concatenate([plane(page.get(f"api/case/0/labels/{z}"), np.uint8, (-1,)) for z in range(case["slices"])])
    assert 0 < found.max() <= 4


def test_a_case_has_its_scores_thresholds_and_statements(page):
    case = page.get("api/case/0").json()
    first, second = case["systems"]
    assert (first["name"], second["name"]) == ("fv-conv1", "cnn")
    assert first["scores"][3] == [3.0, 3.1, 3.2, 3.3]
    assert first["presence"] == [[0] * 4] * 2 + [[1] * 4] * 3
    assert second["presence"] == [[-1] * 4] * 5  # without a threshold, neither present nor absent
    assert second["probability"][0] == [None] * 4
    assert case["statements"] == ["Pixel size is within the range of the training slices."]
    assert case["phantom"] is True


def test_a_prediction_without_its_scan_states_that_it_has_no_images(prediction):
    with client(prediction) as one:
        case = one.get("api/case/0").json()
        assert (case["images"], case["maps"]) == (False, [])
        assert "contains no images" in case["notes"][0]
        assert one.get("api/case/0/slice/0").status_code == 404


def test_a_prepared_slice_is_within_a_step_of_its_hounsfield_units():
    hu = np.linspace(-1400, 240, 224 * 224).reshape(1, 224, 224).astype(np.float32)
    from ildfv.scans.windows import windowed

    found = recovered(windowed(hu)[0])
    inside = hu[0] < 199  # above the normal window, the high one decides
    assert np.abs(found - hu[0])[inside].max() <= 4
    assert np.abs(found - hu[0]).max() <= 4


def test_a_workspace_lists_its_scans_without_identities(workspace):
    with client(workspace) as one:
        assert [case["slices"] for case in start_of(one)["study"]["cases"]] == [SLICES] * 2
        everything = one.get("").text + one.get("api/case/0").text + one.get("api/case/1").text
        for identity in ("PHANTOM-", "patient-0001", "patient-0002", str(workspace.parent), "salt"):
            assert identity not in everything


def test_the_cache_is_bounded():
    cached = Cached(limit=1000)
    for z in range(50):
        cached.get((0, "slice", z), lambda: np.zeros(100, np.int16))
    assert cached.size <= 1000
    assert cached.get((0, "slice", 0), lambda: np.ones(1, np.int16)) == b"\1\0"


# -- numbers that do not exist


@pytest.mark.parametrize(
    "path",
    [
        "api/case/1",
        "api/case/-1",
        "api/case/x",
        "api/case/0/slice/5",
        "api/case/0/slice/-1",
        "api/case/0/map/8",
        "api/case/0/map/0/5",
        "api/case/0/labels/99999999999999999999",
        "api/nothing",
        "report",
    ],
)
def test_numbers_that_do_not_exist_are_not_found(path, page):
    assert page.get(path).status_code == 404


# -- damaged and missing files


def test_a_slice_whose_file_is_missing_gives_a_one_line_error_and_the_others_are_shown(scan, tmp_path):
    copy = shutil.copytree(scan / "ct", tmp_path / "ct")
    with client(copy) as one:
        victim = next(iter(copy.glob("*.dcm")))
        victim.unlink()
        answers = [one.get(f"api/case/0/slice/{z}") for z in range(SLICES)]
        assert sorted(answer.status_code for answer in answers) == [200] * 4 + [422]
        (reason,) = [answer.json()["error"] for answer in answers if answer.status_code == 422]
        assert "it was removed or renamed" in reason
        assert str(tmp_path) not in reason


def test_a_damaged_slice_gives_a_one_line_error(scan, tmp_path):
    copy = shutil.copytree(scan / "ct", tmp_path / "ct")
    with client(copy) as one:
        for victim in copy.glob("*.dcm"):
            victim.write_bytes(victim.read_bytes()[:-2000])
        answer = one.get("api/case/0/slice/0")
        assert answer.status_code == 422
        assert "pixels must be decodable" in answer.json()["error"]


def test_a_missing_decoder_is_named(scan, tmp_path, monkeypatch):
    copy = shutil.copytree(scan / "ct", tmp_path / "ct")
    for path in copy.glob("*.dcm"):
        dataset = dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
    monkeypatch.setattr("ildfv.scans.pixels.can_decode", lambda syntax: False)
    with client(copy) as one:
        answer = one.get("api/case/0/slice/0")
    assert answer.status_code == 422
    assert "RLE Lossless needs" in answer.json()["error"]


@pytest.mark.parametrize("kind", ["truncated", "other grid", "NaN", "no gzip"])
def test_a_damaged_map_gives_a_one_line_error_and_slices_are_shown(kind, scan, tmp_path):
    from ildfv.inference.outputs import write_map

    folder = make_prediction(tmp_path / "answer", scan)
    path = folder / "ground-glass-contributions.nii.gz"
    geometry = discover(scan, labels=False, workers=1).scans[0].geometry
    if kind == "truncated":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:50_000]))
    if kind == "other grid":
        import nibabel

        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.diag([-1, -1, 1, 1])), path)
    if kind == "NaN":
        write_map(path, np.full((SLICES, 224, 224), np.nan), geometry)
    if kind == "no gzip":
        path.write_bytes(b"no gzip")
    with client(folder, scan) as one:
        for address in ("api/case/0/map/0", "api/case/0/map/0/0"):
            answer = one.get(address)
            assert answer.status_code == 422
            assert path.name in answer.json()["error"]
        assert one.get("api/case/0/slice/0").status_code == 200


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c | {"kind": "other"}, "must be of kind"),
        (lambda c: c | {"version": 99}, "must have version"),
        (lambda c: {k: v for k, v in c.items() if k != "heads"}, "must be a valid prediction"),
        (
            lambda c: c | {"heads": {"a": {"scan": {}, "per_slice": {"scores": [[1]], "probability": [[1]]}}}},
            "must have",
        ),
        (lambda c: c | {"positions_mm": "x"}, "must be a valid prediction"),
        (lambda c: [1], "must be of kind"),
    ],
)
def test_a_prediction_of_another_shape_is_refused(change, reason, prediction, tmp_path):
    content = json.loads((prediction / "prediction.json").read_text())
    (tmp_path / "prediction.json").write_text(json.dumps(change(content)))
    with pytest.raises(InputError, match=reason):
        open_study([tmp_path])


def test_a_prediction_of_another_scan_is_refused(prediction, scans):
    with pytest.raises(InputError, match="a scan must belong to a prediction"):
        open_study([prediction, scans / "patient-0002"])


def test_a_volume_file_under_another_path_is_assigned_by_its_slices(prediction, scan, tmp_path):
    hu = read_volume(discover(scan, labels=False, workers=1).scans[0]).hu
    ScanFiles.nifti(tmp_path / "renamed.nii.gz", hu)
    (case,) = open_study([prediction, tmp_path / "renamed.nii.gz"]).cases
    assert "assigned to the scan by slice positions" in case.notes[-1]
    ScanFiles.nifti(tmp_path / "shorter.nii.gz", hu[:4])
    with pytest.raises(InputError, match=r"the scan of scan-\w+ must have 5 slices, the first at .*, got 4 slices"):
        open_study([prediction, tmp_path / "shorter.nii.gz"])


def test_two_scans_that_the_prediction_does_not_name_are_refused(prediction, scans, tmp_path):
    content = json.loads((prediction / "prediction.json").read_text()) | {"scan": "scan-0"}
    (tmp_path / "prediction.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="a scan must belong to a prediction"):
        open_study([tmp_path, scans])


@pytest.mark.parametrize(("paths", "reason"), [(["nowhere"], "must exist"), (["."], "must contain a CT scan")])
def test_paths_without_a_scan_are_refused(paths, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter.txt").write_text("a letter")
    from pathlib import Path

    with pytest.raises(InputError, match=reason):
        open_study([Path(path) for path in paths])


def test_a_workspace_is_viewed_alone(workspace, scan):
    with pytest.raises(InputError, match="a workspace must be the only path, got 2 paths"):
        open_study([workspace, scan])


# -- similar slices


class Encoded:
    """An encoding of three scans of two slices, in two dimensions."""

    layer, fold = "conv1", 0
    rows: ClassVar = {
        "a": np.array([[0, 0], [9, 9]], np.float32),
        "b": np.array([[8, 9], [1, 0]], np.float32),
        "c": np.array([[0, 0], [9, 9]], np.float32),
    }

    def parts(self, names=None):
        yield from ((name, self.rows[name]) for name in names or self.rows)


def test_similar_slices_are_the_nearest_of_other_patients():
    places = {"positions": np.arange(2.0), "shape": (4, 4), "pixel": 1.0, "patterns": ["p"]}
    cases = [Case(name, patient=patient, **places) for name, patient in (("a", "1"), ("b", "2"), ("c", "1"))]
    search = Similar(Encoded(), cases)
    assert search.of(0, 0)["results"] == [{"distance": 1.0, "case": 1, "slice": 1}]
    assert search.of(0, 1)["results"] == [{"distance": 1.0, "case": 1, "slice": 0}]
    found = [(one["case"], one["slice"]) for one in search.of(1, 0)["results"]]
    assert found == [(0, 1)]  # one slice per patient
    with pytest.raises(InputError, match="slice must be in"):
        search.of(0, 2)


def test_a_workspace_without_encoding_has_no_similar_slices(workspace):
    with client(workspace) as one:
        assert start_of(one)["study"]["similar"] is False
        assert one.get("api/case/0/similar/0").status_code == 404


def test_a_damaged_encoding_is_a_note_and_the_rest_is_shown(workspace):
    folder = workspace / "encodings" / "conv1" / "fold-0"
    folder.mkdir(parents=True)
    (folder / "encoding.json").write_text("{}")
    with client(workspace) as one:
        study = start_of(one)["study"]
        assert study["similar"] is False
        assert any("Similar slices are not available" in note for note in study["notes"])
        assert one.get("api/case/0/slice/0").status_code == 200


# -- corrections


def correct(one, case, z, values, **headers):
    return one.post(
        f"api/case/{case}/corrections/{z}",
        content=json.dumps(values),
        headers={"content-type": "application/json"} | headers,
    )


def test_prepare_reads_the_corrections(workspace, prepared):
    with client(workspace) as one:
        assert one.get("api/case/0").json()["correctable"] is True
        assert correct(one, 0, 1, [None, None, 0, None]).json() == {"file": "corrections.csv"}
        assert correct(one, 0, 2, [1, 0, 0, 1]).status_code == 200
        assert correct(one, 1, 4, [0, 0, 1, 0]).status_code == 200
        assert one.get("api/case/0/corrections").json() == {"1": [None, None, 0, None], "2": [1, 0, 0, 1]}
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
        assert one.get("api/case/0").json()["truth"][1] == [1, 0, 0, 0]
        assert one.get("api/case/0/corrections").json() == {}  # nothing differs from the workspace
        correct(one, 0, 1, [1, 0, 1, 0])
        assert one.get("api/case/0/corrections").json() == {"1": [1, 0, 1, 0]}
    prepare_scans(prepared[1], workspace, labels=workspace / "corrections.csv", workers=1)
    found = open_study([workspace]).cases[0].truth
    assert found[1].tolist() == [1, 0, 1, 0]
    assert found[2].tolist() == [0, 1, 0, 0]


def test_a_correction_can_be_undone(workspace):
    with client(workspace) as one:
        correct(one, 0, 1, [1, 0, 0, 0])
        assert correct(one, 0, 1, None).status_code == 200
        assert one.get("api/case/0/corrections").json() == {}
    assert (workspace / "corrections.csv").read_text().count("\n") == 1


def test_corrections_of_an_earlier_viewer_are_kept(workspace):
    with client(workspace) as one:
        correct(one, 0, 1, [1, 0, 0, 0])
    with client(workspace) as one:
        correct(one, 1, 1, [0, 0, 0, 1])
        assert one.get("api/case/0/corrections").json() == {"1": [1, 0, 0, 0]}


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
        assert one.post("api/case/0/corrections/0", data={"a": "b"}).status_code == 415
        assert correct(one, 0, 0, ["x" * 5000]).status_code == 413
        assert one.get("api/case/0/corrections/0").status_code == 405
        assert correct(one, 0, SLICES, [1, 0, 0, 0]).status_code == 422
        assert (
            one.post("api/case/0/corrections/0", content="{", headers={"content-type": "application/json"}).status_code
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
        assert one.get("api/case/0/corrections").json() == {}


def test_a_report_that_was_removed_gives_a_one_line_error(workspace):
    (workspace / "report.html").write_text("<body></body>")
    with client(workspace) as one:
        (workspace / "report.html").unlink()
        assert one.get("report").json() == {"error": "report.html: No such file or directory"}


def test_a_scan_with_a_label_map_is_not_corrected(scans, tmp_path):
    prepare_scans(scans, tmp_path / "w", workers=1)
    with client(tmp_path / "w") as one:
        case = one.get("api/case/0").json()
        assert case["correctable"] is False
        assert "label map" in case["not_correctable"]
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


# -- the report


def test_cards_of_the_report_name_their_slices(scans, tmp_path):
    from ildfv.evaluation.predictions import Predictions
    from ildfv.evaluation.thresholds import Decisions
    from ildfv.pipeline.report import slice_examples
    from ildfv.report.content import ReportContent
    from ildfv.report.page import render

    prepare_scans(scans, tmp_path / "w", workers=1, threshold=100)
    slices = Workspace.open(tmp_path / "w").slices()
    truth = np.tile([1, 0, 0, 0], (len(slices), 1))
    system = Predictions("cnn", 0, truth.astype(float), truth, slices.patients, Decisions.at([0.5] * 4), ("a",) * 4)
    cards = slice_examples(slices, np.arange(len(slices)), [system], [SLICES + 2])
    page = render(ReportContent(data="phantom", examples=cards))
    assert f'data-slice="{slices.names[1]}/3"' in page
    (tmp_path / "w" / "report.html").write_text(page)
    with client(tmp_path / "w") as one:
        answer = one.get("report")
        assert "static/report.js" in answer.text
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "style-src 'unsafe-inline'" in policy


def test_the_application_needs_no_file_after_its_start(scan):
    """Static files are read once, so that an update of the package does not change a running page."""
    from ildfv.viewer.app import application

    app = application(open_study([scan]), TOKEN, {HOST})
    assert set(app.app.routes[0].endpoint.__self__.files) >= {"index.html", "app.js", "style.css", "icon.svg"}
