"""Systems whose layers read slices in HU are exported: equal scores, contribution maps that add up, and predictions."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles
from small import PATIENTS
from test_systems import FEW, TINY, densities, fit_fold, stored, workspace_of

from ildfv.errors import InputError
from ildfv.estimators.projected import projected
from ildfv.inference import slice_predictor as module
from ildfv.inference.predictor import Predictor
from ildfv.pipeline.components import describe_components
from ildfv.pipeline.encode import encode_slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.export import export_predictor
from ildfv.pipeline.projector import projector
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.similar import similar_slices
from ildfv.scans.hounsfield import mean_hounsfield
from ildfv.scans.windows import NORMAL, WINDOWS, windowed
from ildfv.viewer.computed_maps import ComputedMaps

pytestmark = pytest.mark.slow

LOW, HIGH = WINDOWS[NORMAL]
RIDGE = f"fv-{FEW}-lung-ridge"


def in_hu(number):
    """The chest of the tests of regions with its HU, which differ from the windows by up to half a grey level."""
    from test_regions import chest

    one = chest(number)
    exact = LOW + one.images[:, NORMAL] * ((HIGH - LOW) / 255)
    moved = exact + np.random.default_rng([number, 9]).uniform(-3, 3, exact.shape)
    return replace(one, hu=np.rint(moved).astype(np.int16))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A workspace prepared with --hu, its recipe for few slices and a linear head fitted on fold 1, and a predictor."""
    root = tmp_path_factory.mktemp("hu")
    workspace = workspace_of(root / "study", in_hu)
    fit_fold(workspace, 1)
    encode_slices(workspace.root, replace(TINY, region="slice"), fold=1)
    regress_encoding(workspace.root, layer="filters", fold=1)
    export_predictor(workspace.root, root / "predictor", fold=1, layer=FEW, region="lung")
    return workspace, root / "predictor"


def test_the_predictor_records_which_encodings_read_hu(study):
    info = Predictor.load(study[1]).info
    assert [one.hounsfield for one in info.encodings.values()] == [True, True]


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_scores_are_those_of_regress_for_any_batch_size(study, monkeypatch, batch):
    workspace, folder = study
    monkeypatch.setattr(module, "BATCH", batch)
    predictor, slices = Predictor.load(folder), workspace.slices()
    indices, _ = stored(workspace, RIDGE, 1)
    found = predictor.scores(slices.images(indices), 0.5, densities(workspace, indices), hu=slices.hounsfield(indices))
    for name, scores in found.items():
        np.testing.assert_allclose(scores, stored(workspace, name, 1)[1], atol=1e-6)


def test_windows_instead_of_hu_would_give_other_scores(study):
    workspace, folder = study
    predictor, slices = Predictor.load(folder), workspace.slices()
    images = slices.images(np.arange(3))
    rounded = np.rint(LOW + images[:, NORMAL, None] * ((HIGH - LOW) / 255)).astype(np.int16)
    given = densities(workspace, np.arange(3))
    exact = predictor.scores(images, 0.5, given, hu=slices.hounsfield(np.arange(3)))
    assert np.abs(predictor.scores(images, 0.5, given, hu=rounded)[RIDGE] - exact[RIDGE]).max() > 1e-4


@pytest.mark.parametrize("head", ["ridge", "logistic"])
def test_contributions_add_up_to_the_linear_score(study, head):
    workspace, folder = study
    predictor, name, rows = Predictor.load(folder), f"fv-{FEW}-lung-{head}", np.arange(3)
    images, hu = workspace.slices().images(rows), workspace.slices().hounsfield(rows)
    inputs, fitted = densities(workspace, rows), predictor.fisher_head(name)
    maps = predictor.contributions(images, 0.5, name, hu=hu)
    expected = predictor.scores(images, 0.5, inputs, hu=hu)[name] - fitted.offset - fitted.input_part(inputs, 3)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(maps.sum(axis=(2, 3)), expected, atol=1e-5)


def test_missing_or_wrong_hu_are_refused(study):
    workspace, folder = study
    predictor, images = Predictor.load(folder), workspace.slices().images(np.arange(2))
    rule = r"hu must be int16 \(2, 1, 224, 224\), because encoding filters-lung reads slices in HU"
    with pytest.raises(InputError, match=f"{rule}, got none"):
        predictor.scores(images, 0.5, densities(workspace, np.arange(2)))
    with pytest.raises(InputError, match=f"{rule}, got float64"):
        predictor.scores(images, 0.5, densities(workspace, np.arange(2)), hu=np.zeros((2, 1, 224, 224)))


def test_a_linear_head_predicts_a_scan_with_the_scores_of_its_slices(study, tmp_path):
    chest = ScanFiles.chest()
    ScanFiles.series(tmp_path / "dicom", chest)
    workspace, _ = study
    export_predictor(workspace.root, tmp_path / "linear", fold=1, layer="filters")
    predictor = Predictor.load(tmp_path / "linear")
    hu = np.stack([mean_hounsfield(one) for one in chest])[:, None]
    images = np.stack([windowed(one) for one in chest])
    expected = predictor.scores(images, 16.0, hu=hu)["fv-filters"]
    found = predictor.predict(tmp_path / "dicom")
    np.testing.assert_allclose(found.head.scores, expected, atol=1e-9)
    sums = found.contributions.sum(axis=(2, 3)) + predictor.fisher_head("fv-filters").offset
    np.testing.assert_allclose(sums, expected, atol=1e-3)


@pytest.mark.slow
def test_a_predictor_of_all_patients_is_fitted_on_hu(study, tmp_path):
    workspace, _ = study
    encode_slices(workspace.root, replace(TINY, region="slice"), fold=0)
    regress_encoding(workspace.root, layer="filters", fold=0)
    export_predictor(workspace.root, tmp_path / "all", layer="filters", all_patients=True)
    everyone = Encoding(workspace.encodings_dir / "filters" / "all-patients")
    predictor, slices = Predictor.load(tmp_path / "all"), workspace.slices()
    rows = np.arange(len(slices))
    rows = rows[: 3 * PATIENTS]
    maps, _ = predictor.layers.of(slices.images(rows), slices.hounsfield(rows))
    encoding = predictor._encodings.fisher["filters"]
    found = projected(encoding.vectors(maps["filters"]), encoding.pca.mean_, encoding.pca.components_)
    np.testing.assert_allclose(found, everyone.projections()[rows], atol=1e-4)


def test_similar_slices_and_components_read_hu(study, tmp_path):
    workspace, _ = study
    slices, encoding = workspace.slices(), Encoding(workspace.encoding_dir("filters", 1))
    project, rows = projector(workspace, encoding), np.arange(4)
    images, hu = slices.images(rows), slices.hounsfield(rows)
    np.testing.assert_allclose(project(images, 0.5, hu), encoding.projections()[rows], atol=1e-5)
    with pytest.raises(InputError, match="hu must be given"):
        project(images, 0.5)
    ScanFiles.series(tmp_path / "dicom", ScanFiles.chest())
    assert similar_slices(workspace.root, tmp_path / "dicom", layer="filters", fold=1).document["results"]
    found = describe_components(workspace.root, layer="filters", fold=1, slices_read=4)
    assert len(found["components"]) == 2


def test_the_viewer_computes_maps_from_the_stored_hu(study, tmp_path):
    from test_regions import chest

    workspace, folder = study
    scale, planes = ComputedMaps(folder, workspace.slices()).quantised(0, 0)
    assert scale > 0
    assert len(planes) == 3
    plain = workspace_of(tmp_path / "plain", chest)
    with pytest.raises(InputError, match="needs slices in HU, got a workspace without them: run `ildfv prepare --hu`"):
        ComputedMaps(folder, plain.slices())
