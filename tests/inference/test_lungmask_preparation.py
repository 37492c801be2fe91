"""`prepare --lungs lungmask`: the lung of lungmask in counts, densities, regions, the predictor and its predictions."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles
from test_preparation_options import TINY, Large, written

from ildfv.cli.app import app
from ildfv.datasets.convert import read_volume
from ildfv.datasets.discovery import discover
from ildfv.errors import InputError, MissingPackageError
from ildfv.inference.batch import SliceBatch
from ildfv.inference.predictor import Predictor
from ildfv.inference.stored_lung import stored_lung
from ildfv.pipeline.components import describe_components
from ildfv.pipeline.encode import encode_slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.prepare import prepare_scans
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.similar import similar_slices
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.scans import prepared_lungs
from ildfv.scans.windows import nearest, windowed
from ildfv.viewer.computed_maps import ComputedMaps

pytestmark = pytest.mark.slow

# A package that marks the right half of the image inside the lung of the chest, which the rule would not do.
PACKAGE = """
import numpy as np

class LMInferer:
    def __init__(self, *, volume_postprocessing, tqdm_disable):
        self.whole = volume_postprocessing

    def apply(self, hu):
        assert self.whole and hu.ndim == 3
        y, x = np.mgrid[: hu.shape[1], : hu.shape[2]] - (hu.shape[1] - 1) / 2
        return np.broadcast_to(np.where(((x - 30) / 20) ** 2 + (y / 30) ** 2 < 1, 2, 0), hu.shape)
"""


def right_lung(shape=(3, 160, 160)) -> np.ndarray:
    y, x = np.mgrid[: shape[1], : shape[2]] - (shape[1] - 1) / 2
    return np.broadcast_to(((x - 30) / 20) ** 2 + (y / 30) ** 2 < 1, shape)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package, importable in this process and in worker processes."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "lungmask").mkdir()
    (folder / "lungmask" / "__init__.py").write_text(PACKAGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        patch.delitem(sys.modules, "lungmask", raising=False)
        prepared_lungs._lungmask_of_scans.cache_clear()
        yield folder
        prepared_lungs._lungmask_of_scans.cache_clear()
        sys.modules.pop("lungmask", None)


@pytest.fixture(scope="module")
def study(package, tmp_path_factory):
    root = tmp_path_factory.mktemp("lungmask")
    scans, workspace = written(root / "scans"), root / "study"
    arguments = ["prepare", str(scans), "-w", str(workspace), "--codes", "phantom", "--workers", "1", "--json"]
    result = CliRunner().invoke(app, [*arguments, "--lungs", "lungmask", "--threshold", "50"])
    assert result.exit_code == 0, result.output
    write_folds(Workspace.open(workspace))
    encode_slices(workspace, replace(TINY, region="lung"))
    regress_encoding(workspace, layer="filters", region="lung")
    export_predictor(workspace, root / "predictor", layer="filters", region="lung")
    return workspace, root / "predictor", scans, json.loads(result.stdout)


def test_counts_and_masks_are_those_of_lungmask(study):
    slices = Workspace.open(study[0]).slices()
    assert slices.preparation.lungs == "lungmask"
    assert set(slices.lung.tolist()) == {np.count_nonzero(right_lung()[0])}
    masks = stored_lung(slices, np.arange(len(slices)))
    np.testing.assert_array_equal(masks[4], nearest(right_lung())[0])


def test_the_predictor_pools_in_the_lung_of_lungmask(study, tmp_path):
    workspace, folder, _, _ = study
    predictor, slices = Predictor.load(folder), Workspace.open(workspace).slices()
    assert predictor.info.preparation.lungs == "lungmask"
    rows = np.arange(3)
    images, lung = slices.images(rows), stored_lung(slices, rows)
    maps, _ = predictor.layers.of(images)
    vectors = predictor._encodings.vectors(maps, SliceBatch(images, 4.0, lung=lung))["filters-lung"]
    found = predictor._encodings.fisher["filters-lung"].pca.transform(vectors)
    expected = Encoding(Workspace.open(workspace).encoding_dir("filters", 0, "lung")).projections()[rows]
    np.testing.assert_allclose(found, expected, atol=1e-5)

    path = Large.nifti(tmp_path / "ct.nii.gz", Large.chest(seed=77))
    answer = predictor.predict(path)
    (scan,) = discover(path, labels=False, workers=1).scans
    new = np.stack([windowed(one) for one in read_volume(scan).hu])
    expected = predictor.scores(new, 4.0, lung=nearest(right_lung()))["fv-filters-lung"]
    np.testing.assert_allclose(answer.head.scores, expected, atol=1e-9)
    assert np.abs(predictor.scores(new, 4.0)["fv-filters-lung"] - expected).max() > 1e-4
    assert answer.lung == pytest.approx(np.count_nonzero(right_lung()[0]) * 4 / 100)
    assert "the lung was found by lungmask, as on the training slices" in answer.notes
    assert "segmented with lungmask" in answer.methods


def test_maps_components_and_similar_slices_use_the_same_lung(study):
    workspace, folder, scans, _ = study
    slices = Workspace.open(workspace).slices()
    scale, _ = ComputedMaps(folder, slices).quantised(0, 0)
    assert scale > 0
    assert describe_components(workspace, layer="filters", region="lung", slices_read=3)["components"]
    found = similar_slices(workspace, f"{scans / 'p0' / 'ct.nii.gz'}:2", layer="filters", region="lung", count=2)
    assert len(found.document["results"]) == 2


@pytest.mark.slow
def test_a_workspace_keeps_its_method(study, tmp_path):
    workspace, _, scans, _ = study
    with pytest.raises(InputError, match=r"lungs must be lungmask as in .*, got rule: use another workspace"):
        prepare_scans(scans, workspace, lungs="rule", workers=1)
    prepare_scans(scans, tmp_path / "rule", lungs="rule", codes="phantom", workers=1)
    assert "lungs" not in (tmp_path / "rule" / "workspace.toml").read_text()
    with pytest.raises(InputError, match=r"lungs must be None as in .*, got 'lungmask': use another workspace"):
        prepare_scans(scans, tmp_path / "rule", lungs="lungmask", workers=1)
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match="--lung-masks must be used without --lungs lungmask, got both: omit one"):
        prepare_scans(scans, workspace, lung_masks=tmp_path / "masks", workers=1)


def test_a_missing_package_is_one_line_before_any_scan_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lungmask", None)
    prepared_lungs._lungmask_of_scans.cache_clear()
    Large.nifti(tmp_path / "scans" / "ct.nii.gz", Large.chest())
    with pytest.raises(MissingPackageError, match=r"ildfv\[lungs\]"):
        prepare_scans(tmp_path / "scans", tmp_path / "study", lungs="lungmask", workers=1)
    assert not (tmp_path / "study").exists()
    with pytest.raises(InputError, match='lungs must be rule or lungmask, got "manual"'):
        prepare_scans(tmp_path / "scans", tmp_path / "study", lungs="manual", workers=1)


def test_missing_weights_are_one_line(tmp_path, monkeypatch):
    def inferer(**_):
        raise OSError("Name or service not known")

    monkeypatch.setitem(sys.modules, "lungmask", SimpleNamespace(LMInferer=inferer))
    prepared_lungs._lungmask_of_scans.cache_clear()
    Large.nifti(tmp_path / "scans" / "ct.nii.gz", Large.chest())
    with pytest.raises(InputError, match="must be able to download its weights on first use: Name or service"):
        prepare_scans(tmp_path / "scans", tmp_path / "study", lungs="lungmask", workers=1)


def test_a_scan_in_which_lungmask_finds_no_lung_is_quarantined(tmp_path, monkeypatch, inline):
    empty = SimpleNamespace(LMInferer=lambda **_: SimpleNamespace(apply=lambda hu: np.zeros(hu.shape, np.uint8)))
    monkeypatch.setitem(sys.modules, "lungmask", empty)
    prepared_lungs._lungmask_of_scans.cache_clear()
    Large.nifti(tmp_path / "scans" / "ct.nii.gz", Large.chest())
    report = prepare_scans(tmp_path / "scans", tmp_path / "study", lungs="lungmask", workers=1)
    prepared_lungs._lungmask_of_scans.cache_clear()
    assert "a scan must show lung, at least 10 cm²" in report["quarantined"][0]["reason"]


@pytest.mark.slow
def test_predictions_note_that_training_slices_had_given_masks(tmp_path, inline):
    scans = written(tmp_path / "scans")
    for number in range(6):
        mask = Large.lungs(Large.chest()).astype(np.uint8)
        ScanFiles.nifti(tmp_path / "masks" / f"p{number}" / "ct.nii.gz", mask, affine=Large.affine())
    workspace = tmp_path / "study"
    prepare_scans(scans, workspace, codes="phantom", threshold=50, lung_masks=tmp_path / "masks", workers=1)
    write_folds(Workspace.open(workspace))
    encode_slices(workspace, TINY)
    regress_encoding(workspace, layer="filters")
    info = export_predictor(workspace, tmp_path / "predictor", layer="filters")
    assert info.training["given_lung_masks"] == 18
    path = Large.nifti(tmp_path / "ct.nii.gz", Large.chest(seed=77))
    notes = Predictor.load(tmp_path / "predictor").predict(path).notes
    (note,) = [one for one in notes if "lung masks were given for 18 training slices" in one]
    assert "but not for this scan, whose lung was found by the built-in rule: give its mask with --lung-masks" in note
