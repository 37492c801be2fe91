"""The server of the viewer: access, and what it serves."""

import numpy as np
import pytest
from viewer_support import HOST, SLICES, TOKEN, client, start_of

from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.workspace import Workspace
from ildfv.viewer.images import Cached, recovered
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
    "path", ["", "wrong/", "wrong/api/scan/0", "secret-toke/", "api/scan/0", "static/app.js", "é/"]
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
    assert page.get("api/scan/0", headers={"origin": "http://evil.example"}).status_code == 403
    assert page.get("api/scan/0", headers={"origin": f"http://{HOST}"}).status_code == 200


@pytest.mark.parametrize("path", ["", "static/app.js", "api/scan/0", "api/scan/0/slice/0", "api/scan/9", "nothing"])
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
    for path in ("", "api/scan/0", "api/scan/0/slice/0", "static/app.js"):
        assert page.request(method, path).status_code == 405


@pytest.mark.parametrize(
    "path",
    ["static/../scan.py", "static/..%2fscan.py", "static/%2e%2e/scan.py", "static//etc/passwd", "static/", "../x"],
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
    document = page.get("api/scan/0").json()
    shape = (document["rows"], document["columns"])
    volume = read_volume(discover(scan, labels=False, workers=1).scans[0])
    assert document["slices"] == len(volume.hu) == SLICES
    np.testing.assert_allclose(document["positions"], volume.positions, atol=1e-3)
    for z in range(SLICES):
        np.testing.assert_array_equal(plane(page.get(f"api/scan/0/slice/{z}"), "<i2", shape), volume.hu[z])


def test_several_slices_are_served_one_after_the_other(page):
    single = b"".join(page.get(f"api/scan/0/slice/{z}").content for z in (1, 2, 3))
    assert page.get("api/scan/0/slice/1?count=3").content == single
    for count in ("0", "5", "9", "-1", "x", "²"):
        assert page.get(f"api/scan/0/slice/1?count={count}").status_code == 404


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
        assert other.get("api/scan/0/slice/2").content == page.get("api/scan/0/slice/2").content


def test_maps_have_the_sign_and_place_of_the_contributions(page):
    scan = page.get("api/scan/0").json()
    assert [(one["kind"], one["pattern"]) for one in scan["maps"]] == [
        (kind, c) for kind in ("contributions", "cam") for c in range(4)
    ]
    assert scan["maps"][0]["title"] == "Contributions to the score of fv-conv1"
    grid = page.get("api/scan/0/map/0").json()
    values = plane(page.get("api/scan/0/map/0/2"), np.int8, (grid["rows"], grid["columns"]))
    scale = 64 / 224
    y, left, right = int(80 * scale), int(80 * scale), int(150 * scale)  # columns on the screen's left and right
    assert values[y, left] == 127
    assert values[y, right] < -40
    assert values[5, 5] == 0
    # 0.001 per input pixel, which has the area of (64/224)² pixels of the scan
    per_cm2 = 1e-3 / ((64 / 224 * scan["pixel"]) ** 2 / 100)
    assert grid["scale"] == pytest.approx(per_cm2, rel=0.05)


def test_label_maps_are_served_with_codes_of_patterns(page):
    scan = page.get("api/scan/0").json()
    found = np.concatenate([plane(page.get(f"api/scan/0/labels/{z}"), np.uint8, (-1,)) for z in range(scan["slices"])])
    assert 0 < found.max() <= 4


def test_a_scan_has_its_scores_thresholds_and_statements(page):
    scan = page.get("api/scan/0").json()
    first, second = scan["systems"]
    assert (first["name"], second["name"]) == ("fv-conv1", "cnn")
    assert first["scores"][3] == [3.0, 3.1, 3.2, 3.3]
    assert first["presence"] == [[0] * 4] * 2 + [[1] * 4] * 3
    assert second["presence"] == [[-1] * 4] * 5  # without a threshold, neither present nor absent
    assert second["probability"][0] == [None] * 4
    assert scan["statements"] == ["Pixel size is within the range of the training slices."]
    assert scan["phantom"] is True


def test_a_prediction_without_its_scan_states_that_it_has_no_images(prediction):
    with client(prediction) as one:
        scan = one.get("api/scan/0").json()
        assert (scan["images"], scan["maps"]) == (False, [])
        assert "contains no images" in scan["notes"][0]
        assert one.get("api/scan/0/slice/0").status_code == 404


def test_a_prepared_slice_is_within_a_step_of_its_hounsfield_units():
    hu = np.linspace(-1400, 240, 224 * 224).reshape(1, 224, 224).astype(np.float32)
    from ildfv.scans.windows import windowed

    found = recovered(windowed(hu)[0])
    inside = hu[0] < 199  # above the normal window, the high one decides
    assert np.abs(found - hu[0])[inside].max() <= 4
    assert np.abs(found - hu[0]).max() <= 4


def test_a_workspace_lists_its_scans_without_identities(workspace):
    with client(workspace) as one:
        assert [scan["slices"] for scan in start_of(one)["study"]["scans"]] == [SLICES] * 2
        everything = one.get("").text + one.get("api/scan/0").text + one.get("api/scan/1").text
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
        "api/scan/1",
        "api/scan/-1",
        "api/scan/x",
        "api/scan/0/slice/5",
        "api/scan/0/slice/-1",
        "api/scan/0/map/8",
        "api/scan/0/map/0/5",
        "api/scan/0/labels/99999999999999999999",
        "api/nothing",
        "report",
    ],
)
def test_numbers_that_do_not_exist_are_not_found(path, page):
    assert page.get(path).status_code == 404


# -- similar slices


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
