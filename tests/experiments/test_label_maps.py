"""Label maps of the patch baseline: files on one grid that viewers can overlay, overlap measures, and pictures."""

import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from tiny import TINY, stored

from ildfv.experiments import label_maps
from ildfv.experiments.context import Context
from ildfv.experiments.run import run_experiments
from ildfv.experiments.scoring import scores
from ildfv.inference.sliding_window import pattern_counts
from ildfv.patterns import PATTERNS
from ildfv.pipeline.verify import verify_workspace
from ildfv.scans.windows import GRID


@pytest.fixture(scope="module")
def root(made, tmp_path_factory):
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("maps") / "workspace"))


@pytest.fixture(scope="module")
def context(root):
    return Context(root, TINY, device="cpu")


@pytest.fixture(scope="module")
def system(context):
    """Trained long enough that the sliding window predicts a pattern somewhere."""
    one = context.patches("patch baseline")
    return replace(one, settings=replace(one.settings, epochs=8, batch_size=8, dropout=0.0), per_slice=8)


def volumes(context, system, fold, kind):
    return sorted(label_maps.folder(context, system, fold).glob(f"*-{kind}.nii.gz"))


@pytest.mark.slow
def test_every_held_out_scan_has_three_volumes_on_one_grid(context, system):
    found_scores = scores(context, system, 0)
    test = context.split(0).test
    scans = list(dict.fromkeys(context.slices.series[test].tolist()))
    found = {kind: volumes(context, system, 0, kind) for kind in label_maps.KINDS}
    assert [len(paths) for paths in found.values()] == [len(scans)] * 3
    called_somewhere = 0
    for series in scans:
        rows = np.flatnonzero(context.slices.series[test] == series)
        images = {kind: nibabel.load(next(p for p in paths if series in p.name)) for kind, paths in found.items()}
        assert len({str(image.affine) for image in images.values()}) == 1
        called, truth, hu = (np.asarray(images[k].dataobj).transpose(2, 1, 0) for k in ("called", "truth", "slices"))
        np.testing.assert_array_equal(truth, context.slices.label_maps(test[rows]))
        np.testing.assert_array_equal([pattern_counts(one) for one in called], found_scores.test[rows])
        assert called.max() <= len(PATTERNS)
        for image in images.values():
            assert bytes(image.header["descrip"]).rstrip(b"\0") == b"PHANTOM, not clinical"
            assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
            np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-3)
        called_somewhere += int((called > 0).sum())
        grey = context.slices.images(test[rows])[:, 1]
        assert np.abs(hu - (-1400 + grey * (1600 / 255))).max() <= 0.51
        side = np.sqrt(context.slices.pixel_area[test[rows[0]]]) * GRID / 224
        z = context.slices.positions[test[rows]]
        np.testing.assert_allclose(images["called"].header.get_zooms(), (side, side, z[1] - z[0]), rtol=1e-5)
        np.testing.assert_allclose(images["called"].affine @ [0, 0, 1, 1], [0, 0, z[1], 1], rtol=1e-5)
    assert called_somewhere > 0


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["lost", "cut"])
def test_an_interrupted_run_resumes_with_the_missing_scans(context, system, monkeypatch, damage):
    scores(context, system, 1)
    before = {path: path.read_bytes() for path in volumes(context, system, 1, "called")}
    lost = next(iter(before))
    if damage == "lost":
        lost.unlink()
    else:
        lost.write_bytes(before[lost][:-20])
        faults = verify_workspace(context.workspace.root)["faults"]
        assert any(lost.name in fault for fault in faults), faults
    asked = []
    real = label_maps.window_maps

    def spied(context, system, fold, indices):
        asked.extend(indices)
        return real(context, system, fold, indices)

    monkeypatch.setattr(label_maps, "window_maps", spied)
    found = np.concatenate([m for _, m in label_maps.held_out(context, system, 1)])
    assert set(context.slices.series[asked]) == {s for s in context.slices.series if s in lost.name}
    np.testing.assert_array_equal([pattern_counts(one) for one in found], scores(context, system, 1).test)


@pytest.mark.slow
def test_overlap_is_dice_over_all_pixels(context, system):
    cells = label_maps.overlap(context, system)
    shared, either = np.zeros((2, 4)), np.zeros((2, 4))
    for fold in (0, 1):
        test = context.split(fold).test
        for rows, called in label_maps.held_out(context, system, fold):
            truth = context.slices.label_maps(test[rows])
            for k in range(4):
                shared[fold, k] += np.logical_and(called == k + 1, truth == k + 1).sum()
                either[fold, k] += (called == k + 1).sum() + (truth == k + 1).sum()
    for k, cell in enumerate(cells):
        assert cell.value == pytest.approx(2 * shared[:, k].sum() / either[:, k].sum())
        assert cell.mean == pytest.approx(np.mean(2 * shared[:, k] / either[:, k]))
        assert cell.n == 2
        if cell.interval:
            assert cell.interval[0] <= cell.value <= cell.interval[1]
    assert any(cell.value > 0 for cell in cells)


@pytest.mark.slow
def test_pictures_show_the_pattern_in_their_caption(context, system):
    for fold in (0, 1):
        scores(context, system, fold)  # computing the scores writes the volumes
    found = label_maps.pictures(context, system)
    titles = [one.caption.split(":")[0] for one in found]
    assert titles == [title for title in (*PATTERNS, "no pattern") if title in titles] != []
    for title, one in zip(titles, found, strict=True):
        shown = {PATTERNS[k - 1] for k in np.unique(one.truth) if k}
        assert title in shown or title == "no pattern"
    assert [one.caption for one in label_maps.pictures(context, system)] == [one.caption for one in found]


@pytest.mark.slow
def test_the_page_and_the_folder_of_results_contain_the_pictures(root):
    ran = stored(run_experiments(["speed"], preset=TINY, workspace=root, device="cpu"))
    (document,) = ran["experiments"]
    page = Path(ran["page"]).read_text(encoding="utf-8")
    assert 'id="label-maps"' in page
    assert page.count('class="triptych"') == len(document["files"]) > 0
    for name in document["files"]:
        with Image.open(root / "results" / "experiments" / name) as picture:
            assert picture.size[0] > 3 * 224
    assert str(root) not in page  # paths are relative to the workspace
    where = (
        next(note for note in document["notes"] if "NIfTI" in note)
        .partition("are in the folder ")[2]
        .partition(" of the")[0]
    )
    assert list((root / where).glob("fold-*/*-called.nii.gz"))
    tables = {table["title"]: table for table in document["tables"]}
    assert tables["Label maps of the patch baseline"]["columns"][3:] == [f"Dice {p}" for p in PATTERNS]
    assert "lung mask of the patch baseline, rule" in [row[0] for row in tables["Milliseconds per slice"]["rows"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", label_maps.KINDS)
def test_a_removed_volume_is_written_again(context, system, kind):
    scores(context, system, 0)
    lost = volumes(context, system, 0, kind)[0]
    before = np.asarray(nibabel.load(lost).dataobj)
    lost.unlink()
    list(label_maps.held_out(context, system, 0))
    np.testing.assert_array_equal(np.asarray(nibabel.load(lost).dataobj), before)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_incomplete_label_maps_are_not_shown(root, damage):
    run_experiments(["speed"], preset=TINY, workspace=root, device="cpu")
    paths = list(root.glob("experiments/*/label-maps/**/*-called.nii.gz"))
    if damage == "removed":
        shutil.rmtree(next(root.glob("experiments/*/label-maps")))
    else:
        for path in paths:
            path.write_bytes(path.read_bytes()[:-20])
    page = run_experiments(["statistics"], preset=TINY, workspace=root, device="cpu")["page"]
    assert 'id="label-maps"' not in Path(page).read_text(encoding="utf-8")
    page = run_experiments(["speed"], preset=TINY, workspace=root, device="cpu")["page"]
    assert 'id="label-maps"' in Path(page).read_text(encoding="utf-8")
