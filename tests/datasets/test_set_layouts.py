"""Published sets are prepared by one command from their own folders; another layout is refused in one line."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ildfv.cli import app
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.patterns import PATTERNS
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.region_text import read_region_file
from ildfv.store.parts import Parts

GROUND_GLASS, RETICULAR, HONEYCOMB, EMPHYSEMA = range(len(PATTERNS))


def prepare(scans, workspace, *options):
    result = CliRunner().invoke(
        app.app, ["prepare", str(scans), "-w", str(workspace), "--json", "--workers", "1", *map(str, options)]
    )
    return result, json.loads(result.stdout) if result.stdout else None


def slices_of(workspace) -> Slices:
    return Workspace.open(workspace).slices()


def regions(*outlines, spacing="4.0") -> str:
    """A text file; outlines: (label, slice number, columns, rows), rectangles around the centres of pixels."""
    lines = ["Study: 1.2.3", "Series: 1.2.3.4", f"SpacingX: {spacing}", f"SpacingY: {spacing}", "SpacingZ: 5.0", ""]
    for label, number, (left, right), (top, bottom) in outlines:
        x0, x1, y0, y1 = (4.0 * (value - 0.5) for value in (left, right, top, bottom))
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        lines += [f"label: {label}", f"slice_number: {number}", "nb_points_on_contour: 4"]
        lines += [f"{x:.6f} {y:.6f}" for x, y in corners]
    return "\n".join(lines) + "\n"


def hug_series(folder, files, seed, text, **options):
    """A series with the names of the database: CT-<n>-<slice>.dcm from the feet, and the text file."""
    paths = files.series(folder, files.chest(seed=seed), **options)
    for number, path in enumerate(paths, start=1):
        path.rename(folder / f"CT-77{seed}-{number:04d}.dcm")
    if text is not None:
        (folder / f"CT-77{seed}.txt").write_text(text)


@pytest.fixture
def hug(tmp_path, files, inline):
    pytest.importorskip("skimage")
    top = tmp_path / "ILD_DB" / "ILD_DB_txtROIs"
    first = [("ground_glass", 2, (10, 20), (20, 30)), ("fibrosis", 2, (40, 44), (20, 25))]
    hug_series(
        top / "3", files, 1, regions(*first, ("healthy", 5, (10, 20), (20, 30)), ("fibrosis", 4, (9, 12), (9, 12)))
    )
    hug_series(top / "53" / "CT-INSPIRIUM-7605", files, 2, regions(("emphysema", 1, (12, 16), (20, 24))))
    hug_series(top / "HRCT_pilot" / "1", files, 3, regions(("emphysema", 1, (12, 16), (20, 24))))
    (tmp_path / "ILD_DB" / "ILD_DB_volumeROIs" / "3" / "roi_mask").mkdir(parents=True)
    return tmp_path / "ILD_DB"


def test_regions_of_hug_ild_are_counted_on_their_slices(hug, tmp_path):
    result, report = prepare(hug, tmp_path / "study", "--layout", "hug-ild")
    assert result.exit_code == 0, result.stderr
    assert (report["scans"], report["patients"], report["labelled_slices"]) == (2, 2, 3)
    assert report["codes"] == "hug-ild"
    assert any("fibrosis counts as none" in note for note in report["notes"])
    slices = slices_of(tmp_path / "study")
    counts = {tuple(row) for row in slices.counts[slices.labelled].tolist()}
    assert counts == {(100, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 16)}


def test_slice_numbers_are_those_of_the_file_names(hug, tmp_path):
    prepare(hug, tmp_path / "study", "--layout", "hug-ild")
    slices = slices_of(tmp_path / "study")
    part = int(np.flatnonzero([(slices.counts[a:b, 0] == 100).any() for a, b in itertools.pairwise(slices.starts)])[0])
    own = slices.counts[slices.starts[part] : slices.starts[part + 1]]
    assert own[:, GROUND_GLASS].tolist() == [-1, 100, -1, -1, 0, -1]  # the slice with only fibrosis is unlabelled


def test_regions_follow_the_pixels_of_a_prone_patient(tmp_path, files, inline):
    """Coordinates are those of the stored image, whatever its orientation."""
    pytest.importorskip("skimage")

    def prone(z, dataset):
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
        x, y, height = map(float, dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x + 63 * 4, y + 63 * 4, height]
        return dataset

    top = tmp_path / "ILD_DB_txtROIs"
    text = regions(("ground_glass", 2, (3, 7), (10, 12)), ("emphysema", 2, (3, 7), (50, 60)))
    hug_series(top / "1", files, 1, text, change=prone)
    result, _ = prepare(top, tmp_path / "study", "--layout", "hug-ild")
    assert result.exit_code == 0, result.stderr
    slices = slices_of(tmp_path / "study")
    assert slices.counts[1].tolist() == [8, 0, 0, 40]
    with Parts(Workspace.open(tmp_path / "study").slices_dir).open(slices.names[0]) as part:
        labels = part["labels"][1]
    rows, columns = np.nonzero(labels == GROUND_GLASS + 1)
    # In canonical order, pixel (10, 3) of the stored image is (53, 60); stored slices have 224 pixels instead of 64.
    assert np.allclose(np.array([rows.mean(), columns.mean()]) / 3.5, [52.5 + 0.5, 58.5 + 0.5], atol=0.7)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace("SpacingX: 4.0", "SpacingX: 0.7"), "must be the pixel spacing of the series"),
        (lambda text: text.replace("slice_number: 2", "slice_number: 9"), "number of a file, 1 to 6, got 9"),
        (lambda text: text.replace("fibrosis", "sarcoid"), "segment label must be a meaning or listed in [segments]"),
        (lambda text: text.replace("contour: 4", "contour: 5", 1), "must have the coordinates x and y"),
        (lambda text: text + "nb_points_on_contour: 9\n", "the number of points that it states, got a file of"),
        (lambda text: text.replace("ground_glass", "healthy") + regions(("emphysema", 2, (10, 20), (20, 30))),
         "must not contradict each other"),
        (lambda text: "a table of results", 'line 1 must have the form "name: value", got'),
        (lambda text: "SpacingX: 4\nSpacingY: 4\n", "at least one nb_points_on_contour"),
        (lambda text: None, "one text file of regions, got 0"),
    ],
)  # fmt: skip
def test_a_faulty_text_file_quarantines_its_series(hug, tmp_path, change, reason):
    path = next((hug / "ILD_DB_txtROIs" / "3").glob("*.txt"))
    text = change(path.read_text())
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    result, report = prepare(hug, tmp_path / "study", "--layout", "hug-ild")
    assert result.exit_code == 0, result.stderr
    assert report["scans"] == 1
    (refused,) = report["quarantined"]
    assert refused["reason"].startswith("patient 3: ") or "label map" in refused["reason"]
    assert reason in refused["reason"]


def test_the_pilot_series_of_hug_ild_are_left_out_with_the_reason(hug, tmp_path):
    _, report = prepare(hug, tmp_path / "study", "--layout", "hug-ild")
    assert [one["reason"][:10] for one in report["ignored"]] == ["HRCT_pilot"]


def test_another_folder_of_hug_ild_is_refused(hug, tmp_path):
    (hug / "ILD_DB_volumeROIs" / "3" / "roi_mask" / "roi_mask_1.dcm").write_bytes(b"")
    result, _ = prepare(hug / "ILD_DB_volumeROIs", tmp_path / "study", "--layout", "hug-ild")
    assert isinstance(result.exception, InputError)
    assert "needs the series of the folder ILD_DB_txtROIs" in str(result.exception)


def test_names_and_colons_in_other_lines_are_ignored(tmp_path):
    (tmp_path / "a.txt").write_text("Author: A: B\n" + regions(("healthy", 1, (1, 3), (1, 3))))
    found = read_region_file(tmp_path / "a.txt")
    assert (found.spacing, found.labels, found.regions[0].slice_number) == ((4.0, 4.0), ("healthy",), 1)
    np.testing.assert_array_equal(found.regions[0].points[0], [2.0, 2.0])
    (tmp_path / "a.txt").write_text(regions(("healthy", 1, (1, 3), (1, 3))).replace("SpacingY: 4.0\n", ""))
    with pytest.raises(InputError, match="SpacingY must be a positive number"):
        read_region_file(tmp_path / "a.txt")


@pytest.fixture
def medseg(tmp_path, files, inline):
    for case in (1, 2):
        hu = files.chest(seed=case)
        codes = files.codes(hu)
        infected = np.where(codes == 2, 1, np.where(codes == 5, 2, 0)).astype(np.uint8)
        infected[3:] = 0
        files.nifti(tmp_path / f"covid/rp_im/{case}.nii.gz", hu)
        files.nifti(tmp_path / f"covid/rp_msk/{case}.nii.gz", infected)
        files.nifti(tmp_path / f"covid/rp_lung_msk/{case}.nii.gz", (codes > 0).astype(np.uint8))
    return tmp_path / "covid"


def test_medseg_volumes_have_ground_glass_and_their_lung_masks(medseg, tmp_path):
    result, report = prepare(medseg, tmp_path / "study", "--layout", "medseg", "--unlabelled-is-negative")
    assert result.exit_code == 0, result.stderr
    assert (report["scans"], report["patients"], report["labelled_slices"], report["codes"]) == (2, 2, 12, "medseg")
    assert any("not assessed" in note for note in report["notes"])
    slices = slices_of(tmp_path / "study")
    assert (slices.counts[:, GROUND_GLASS] > 0).tolist() == 2 * [True, True, True, False, False, False]
    assert not slices.counts[:, GROUND_GLASS + 1 :].any()
    with Parts(Workspace.open(tmp_path / "study").slices_dir).open(slices.names[0]) as part:
        assert "lung_masks" in part


def test_a_medseg_case_without_its_mask_is_quarantined(medseg, tmp_path):
    (medseg / "rp_msk/2.nii.gz").rename(medseg / "rp_msk/3.nii.gz")
    result, report = prepare(medseg, tmp_path / "study", "--layout", "medseg")
    assert result.exit_code == 0, result.stderr
    assert [one["reason"] for one in report["quarantined"]] == [
        "case 2: 2.nii.gz must have a file of the same name in rp_msk, got none"
    ]
    assert {Path(one["source"]).name for one in report["ignored"]} == {"3.nii.gz"}


def test_the_single_slices_of_medseg_are_refused_because_their_patients_are_unknown(tmp_path, files):
    files.nifti(tmp_path / "covid/tr_im.nii.gz", files.chest())
    result, _ = prepare(tmp_path / "covid", tmp_path / "study", "--layout", "medseg")
    assert isinstance(result.exception, InputError)
    assert "--layout medseg requires the folder rp_im, got none in" in str(result.exception)


@pytest.fixture
def ltrc(tmp_path, files, inline):
    """Two patients: a DICOM series below a folder per scan, and a volume file."""
    hu = files.chest(seed=1)
    files.series(tmp_path / "ltrc/p1/scan-1/dicom", hu, patient="anonymous")
    files.nifti(tmp_path / "ltrc/p1/scan-1/labels.nii.gz", files.codes(hu) * 10)
    hu = files.chest(seed=2)
    files.nifti(tmp_path / "ltrc/p2/ct.nii.gz", hu)
    files.nrrd(tmp_path / "ltrc/p2/labels.nrrd", files.codes(hu) * 10)
    lines = ['0 = "outside"', '10 = "healthy"', '20 = "ground glass"', '50 = "emphysema"']
    (tmp_path / "ltrc-codes.toml").write_text("[codes]\n" + "\n".join(lines))
    return tmp_path / "ltrc"


def test_ltrc_scans_take_the_codes_of_the_holder_and_the_patients_of_the_folders(ltrc, tmp_path):
    options = ("--layout", "ltrc", "--codes", tmp_path / "ltrc-codes.toml")
    result, report = prepare(ltrc, tmp_path / "study", *options)
    assert result.exit_code == 0, result.stderr
    assert (report["scans"], report["patients"], report["labelled_slices"]) == (2, 2, 12)
    slices = slices_of(tmp_path / "study")
    assert (slices.counts[:, [GROUND_GLASS, EMPHYSEMA]] > 0).all()
    assert not slices.counts[:, [RETICULAR, HONEYCOMB]].any()


def test_ltrc_without_codes_is_refused(ltrc, tmp_path):
    result, _ = prepare(ltrc, tmp_path / "study", "--layout", "ltrc")
    assert isinstance(result.exception, InputError)
    assert "--layout ltrc needs --codes, the code table of the data set, got none" in str(result.exception)
    assert not (tmp_path / "study").exists()


def test_ltrc_patients_with_another_layout_are_quarantined_by_name(ltrc, tmp_path, files):
    shutil.copy(ltrc / "p2/labels.nrrd", ltrc / "p2/labels-2.nrrd")
    files.series(ltrc / "p3", files.chest(seed=3))
    result, report = prepare(ltrc, tmp_path / "study", "--layout", "ltrc", "--codes", tmp_path / "ltrc-codes.toml")
    assert result.exit_code == 0, result.stderr
    assert sorted(one["reason"] for one in report["quarantined"]) == [
        "p2: a scan must have one label map in its folder, got 2",
        "p3: a patient must have a label map, got none",
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--layout", "lidc"), "--layout must be one of hug-ild, medseg, ltrc, got"),
        (("--layout", "medseg", "--grey", "-1350,150"), "only source of scans and patients, got --grey as well"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(medseg, tmp_path, options, reason):
    result, _ = prepare(medseg, tmp_path / "study", *options)
    assert isinstance(result.exception, InputError)
    assert reason in str(result.exception)


def test_the_dry_run_lists_the_pairs_of_a_layout(hug, tmp_path):
    result, preview = prepare(hug, tmp_path / "study", "--layout", "hug-ild", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert [(scan["patient"], scan["label"].endswith(".txt")) for scan in preview["scans"]] == [
        ("3", True),
        ("53", True),
    ]
