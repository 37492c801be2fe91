"""Similar slices equal those of a full search over other patients, whatever name the query's patient has."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from safetensors.numpy import save_file
from scan_files import ScanFiles
from scipy import ndimage
from small import scan
from test_regions import LUNG

from ildfv.cli.app import app
from ildfv.datasets.identity import hashed
from ildfv.datasets.slice_store import write_scan
from ildfv.errors import InputError
from ildfv.inference.lung_signatures import SAME, highest_correlations, lung_signatures
from ildfv.pipeline.encode import encode_slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.projector import projector
from ildfv.pipeline.similar import similar_slices, split_slice
from ildfv.pipeline.split import write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.prepared_lungs import lungs_of
from ildfv.scans.windows import windowed
from ildfv.store.parts import writing_parts
from ildfv.train import networks

SALT, PATIENTS, SLICES = "0123456789abcdef", 8, 6
IDENTITY = "CANARY-5521"


def chest(number: int) -> np.ndarray:
    return ScanFiles.chest(SLICES, seed=number)


@pytest.fixture(scope="module", params=["lung"])  # the whole slice is the simpler case
def study(request, tmp_path_factory):
    """A workspace of eight patients "P0" … with the slices of `chest`, encoded by a small network."""
    root = tmp_path_factory.mktemp("study")
    workspace = Workspace.open_or_create(root, version="test", salt=SALT, folds=4)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(PATIENTS):
            images = np.stack([windowed(one) for one in chest(number)])
            names = {"patient": hashed(f"P{number}", SALT), "series": hashed(f"series {number}", SALT)}
            parts.add(write_scan(workspace.slices_dir, replace(scan(number), images=images, pixel_area=16.0, **names)))
    write_folds(workspace)
    networks.save(workspace.model_dir("small", 0), networks.build("small", seed=1), {"kind": "network"})
    encode_slices(workspace.root, replace(LUNG, region=request.param))
    return workspace, request.param


def search(study, path, **options):
    workspace, region = study
    return similar_slices(workspace.root, path, layer="conv1", region=region, **options)


def test_results_are_those_of_a_full_search(study, tmp_path):
    workspace, region = study
    hu = chest(99)
    ScanFiles.nifti(tmp_path / "ct.nii.gz", hu)
    found = search(study, f"{tmp_path / 'ct.nii.gz'}:3", count=5)
    encoding = Encoding(workspace.encoding_dir("conv1", 0, region))
    query = projector(workspace, encoding)(windowed(hu[2])[None], 16.0)[0]
    distances = np.linalg.norm(encoding.projections().astype(np.float64) - query, axis=1)
    order = np.argsort(distances)[:5]
    assert [one["index"] for one in found.document["results"]] == order.tolist()
    np.testing.assert_allclose([one["distance"] for one in found.document["results"]], distances[order], rtol=1e-6)
    for one, picture in zip(found.document["results"], found.results, strict=True):
        slices = workspace.slices()
        assert one["patient"] == slices.patients[one["index"]]
        assert one["slice"] == one["index"] % SLICES + 1
        np.testing.assert_array_equal(picture, slices.images([one["index"]])[0, 1])
        assert list(one["pixels"].values()) == slices.counts[one["index"]].tolist()


def test_projections_are_those_of_the_encoding(study):
    workspace, region = study
    encoding = Encoding(workspace.encoding_dir("conv1", 0, region))
    found = projector(workspace, encoding)(workspace.slices().images(np.arange(12)), 16.0)
    np.testing.assert_allclose(found, encoding.projections()[:12], atol=1e-5)


def test_slices_of_the_same_patient_are_never_found(study, tmp_path):
    ScanFiles.series(tmp_path / "follow-up", chest(3) + 7, patient="P3")
    document = search(study, tmp_path / "follow-up", count=PATIENTS * SLICES).document
    assert hashed("P3", SALT) not in {one["patient"] for one in document["results"]}
    assert document["searched"]["excluded_slices_of_the_same_patient"] == SLICES
    assert len(document["results"]) == (PATIENTS - 1) * SLICES


def test_a_converted_scan_does_not_find_itself_under_another_name(study, tmp_path):
    ScanFiles.nifti(tmp_path / "unknown.nii.gz", chest(3))
    document = search(study, f"{tmp_path / 'unknown.nii.gz'}:2").document
    assert hashed("P3", SALT) not in {one["patient"] for one in document["results"]}
    assert document["results"][0]["distance"] > 1e-6
    assert any("so all slices of that patient (6) are excluded" in note for note in document["notes"])


def test_a_patient_can_be_limited_to_one_slice(study, tmp_path):
    ScanFiles.nifti(tmp_path / "ct.nii.gz", chest(99))
    document = search(study, tmp_path / "ct.nii.gz", per_patient=1, count=PATIENTS).document
    assert len({one["patient"] for one in document["results"]}) == len(document["results"]) == PATIENTS


def test_the_command_prints_json_and_writes_a_page_without_identity(study, tmp_path):
    workspace, region = study
    ScanFiles.series(tmp_path / "dicom", chest(99), patient=IDENTITY, PatientName=f"{IDENTITY}^X")
    command = ["similar", f"{tmp_path / 'dicom'}:4", "-w", str(workspace.root), "--layer", "conv1", "--region", region]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "page.html"), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["query"]["slice"] == 4
    assert len(document["results"]) == 10
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64") == 11
    assert "Research use only" in page
    assert "generated phantoms" in page
    assert "http" not in page
    for text in (page, result.stdout):
        assert IDENTITY not in text
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "distance" in shown.output


@pytest.fixture(scope="module")
def frozen(study, tmp_path_factory):
    """A workspace with the slices of `study`: an encoding of the layer "filters", then one of a frozen network."""
    workspace, _ = study
    root = shutil.copytree(workspace.root, tmp_path_factory.mktemp("frozen") / "study")
    shutil.rmtree(root / "encodings")
    weights = root.parent / "weights.safetensors"
    values = networks.tensors(networks.build("small", seed=5))
    save_file({name: value for name, value in values.items() if name not in ("mean", "std")}, weights)
    encode_slices(root, replace(LUNG, layer="filters"))
    encode_slices(root, LUNG, network="small", weights=weights)
    return Workspace.open(root), weights


def test_projections_of_a_frozen_network_are_those_of_the_encoding(frozen):
    workspace, weights = frozen
    encoding = Encoding(workspace.encoding_dir("small-conv1", 0, "lung"))
    found = projector(workspace, encoding, weights=[weights])(workspace.slices().images(np.arange(12)), 16.0)
    np.testing.assert_allclose(found, encoding.projections()[:12], atol=1e-5)


def test_a_frozen_network_is_used_if_its_weights_are_given(frozen, tmp_path):
    workspace, weights = frozen
    ScanFiles.nifti(tmp_path / "ct.nii.gz", chest(99))

    def used(**options) -> str:
        return similar_slices(workspace.root, tmp_path / "ct.nii.gz", **options).document["encoding"]["layer"]

    assert used() == "filters"  # the newest encoding of a network whose weights are available
    assert used(weights=[weights]) == "small-conv1"
    of_layer = {"layer": "small-conv1", "region": "lung"}
    assert used(**of_layer, weights=[weights]) == "small-conv1"
    with pytest.raises(InputError, match=r"needs the weights of small with SHA-256 \w+, got none: .* --weights"):
        used(**of_layer)
    other = tmp_path / "other.safetensors"
    save_file({"body.conv1.weight": np.zeros(3, np.float32)}, other)
    with pytest.raises(InputError, match=r"with SHA-256 \w+, got .*other.safetensors: give the file"):
        used(**of_layer, weights=[other])
    with pytest.raises(InputError, match="filters-lung/fold-0 was not made with a frozen network"):
        used(layer="filters", region="lung", weights=[weights])
    command = ["similar", str(tmp_path / "ct.nii.gz"), "-w", str(workspace.root), "--weights", str(weights)]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "layer small-conv1, region lung, fold 0" in " ".join(shown.output.split())


@pytest.mark.parametrize(("number", "message"), [(0, "must be 1 to 6, got 0"), (7, "must be 1 to 6, got 7")])
def test_unknown_slices_are_refused(study, tmp_path, number, message):
    ScanFiles.nifti(tmp_path / "ct.nii.gz", chest(99))
    with pytest.raises(InputError, match=message):
        search(study, f"{tmp_path / 'ct.nii.gz'}:{number}")


def test_a_colon_in_an_existing_path_is_part_of_it(tmp_path):
    assert split_slice("/data/scan:12") == (Path("/data/scan"), 12)
    assert split_slice("/data/scan") == (Path("/data/scan"), None)
    (tmp_path / "scan:12").mkdir()
    assert split_slice(tmp_path / "scan:12") == (tmp_path / "scan:12", None)


def vessels(number: int) -> np.ndarray:
    """A chest of 128×128 pixels whose lungs have a texture of their own, int16 (6, 128, 128)."""
    random = np.random.default_rng(number)
    hu = np.repeat(np.repeat(ScanFiles.chest(SLICES, seed=0), 2, axis=1), 2, axis=2).astype(float)
    texture = ndimage.gaussian_filter(random.normal(size=(SLICES, 128, 128)), (0.6, 1.8, 1.8))
    return np.rint(np.where(hu < -600, hu + 150 * texture / texture.std(), hu)).clip(-1024, 1000).astype(np.int16)


COPIES = {
    "noise": lambda hu: hu + np.random.default_rng(1).normal(0, 40, hu.shape),
    "other units": lambda hu: 1.05 * hu + 20,
    "clipped": lambda hu: np.clip(hu, -1000, 0),
    "smoothed": lambda hu: ndimage.gaussian_filter(hu.astype(float), (0, 1, 1)),
    "thicker": lambda hu: ndimage.gaussian_filter(hu.astype(float), (0.4, 0, 0)),
    "fewer pixels": lambda hu: ndimage.zoom(hu.astype(float), (1, 0.75, 0.75), order=1),
}


def prints_of(hu: np.ndarray) -> np.ndarray:
    images = np.stack([windowed(np.rint(one).astype(np.int16)) for one in hu])
    return lung_signatures(images, lungs_of(images, np.full(len(images), 0.25)))


@pytest.mark.parametrize("copy", COPIES)
def test_a_changed_copy_has_the_anatomy_of_its_scan(copy):
    changed = prints_of(COPIES[copy](vessels(3)))
    assert highest_correlations(changed, prints_of(vessels(3))).max() >= SAME
    for other in range(4, 8):
        assert highest_correlations(changed, prints_of(vessels(other))).max() < SAME - 0.1


@pytest.mark.parametrize("copy", ["noise", "other units"])
def test_a_changed_copy_under_another_name_does_not_find_its_patient(study, tmp_path, monkeypatch, copy):
    workspace, _ = study
    slices = workspace.slices()
    stored = np.concatenate([np.stack([windowed(one) for one in vessels(number)]) for number in range(PATIENTS)])
    of = np.array([hashed(f"P{number}", SALT) for number in range(PATIENTS) for _ in range(SLICES)])
    order = np.concatenate([np.flatnonzero(of == patient) for patient in dict.fromkeys(slices.patients.tolist())])
    monkeypatch.setattr(type(slices), "images", lambda self, indices: stored[order][np.asarray(indices)])
    volume = vessels(3)
    ScanFiles.nifti(
        tmp_path / "unknown.nii.gz", np.rint(COPIES[copy](volume)).astype(np.int16), affine=np.diag([-2.0, -2, 5, 1])
    )
    document = search(study, f"{tmp_path / 'unknown.nii.gz'}:2", count=PATIENTS * SLICES).document
    assert hashed("P3", SALT) not in {one["patient"] for one in document["results"]}
    assert len({one["patient"] for one in document["results"]}) == PATIENTS - 1
    assert any("with the anatomy of the scan under another name" in note for note in document["notes"])
