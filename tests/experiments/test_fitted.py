"""Encodings of experiments record what they were made from, and are verified against it."""

import shutil
from pathlib import Path

import pytest
from tiny import TINY

from ildfv.errors import InputError
from ildfv.experiments import fitted
from ildfv.experiments.context import Context
from ildfv.pipeline.encodings import FINISHED, Encoding
from ildfv.pipeline.verify import verify_workspace
from ildfv.store.atomic import read_json, write_json
from ildfv.store.checksummed import read_checksummed, write_checksummed
from ildfv.store.fingerprint import FINGERPRINT
from ildfv.store.parts import MANIFEST


@pytest.fixture(scope="module")
def encoded(made, tmp_path_factory):
    """The root of a workspace, and the path of one encoding in it."""
    root = Path(shutil.copytree(made, tmp_path_factory.mktemp("encoded") / "workspace"))
    context = Context(root, TINY, device="cpu")
    folder = fitted.encoding(context, context.encoded("VLAD", "conv1", encoder="vlad"), 0).folder
    return root, folder.relative_to(root)


@pytest.fixture
def workspace(encoded, tmp_path):
    """(root, folder of the encoding), a copy that a test may damage."""
    root = Path(shutil.copytree(encoded[0], tmp_path / "workspace"))
    return root, root / encoded[1]


def other_slices(folder: Path) -> None:
    manifest = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, {**manifest, "key": "0" * 16})


def without_inputs(folder: Path) -> None:
    """Files as `ildfv experiment` wrote them before encodings recorded their inputs."""
    info = read_checksummed(folder / FINISHED)
    write_checksummed(folder / FINISHED, {name: info[name] for name in info if name not in ("inputs", "sha256")})
    write_json(folder / FINGERPRINT, {"system": folder.parent.name, "fitted_batch_size": 16})


def test_an_encoding_records_slices_folds_network_and_settings(workspace):
    root, folder = workspace
    inputs = Encoding(folder).inputs
    assert inputs["slices"] == Context(root, TINY, device="cpu").slices.key
    assert {"folds", "fit", "model_sha256", "encode", "encoder", "words", "descriptors"} <= inputs.keys()
    assert read_json(folder / FINGERPRINT).items() >= inputs.items()
    assert verify_workspace(root)["faults"] == []


def test_projections_of_other_slices_are_refused_and_reported(workspace):
    root, folder = workspace
    other_slices(folder / "projection")
    with pytest.raises(InputError, match=r"must list 48 slices with the key"):
        Encoding(folder).projections()
    assert any("must list 48 slices with the key" in fault for fault in verify_workspace(root)["faults"])


def test_a_lost_codebook_is_reported(workspace):
    root, folder = workspace
    shutil.rmtree(folder / "codebook")
    (fault,) = verify_workspace(root)["faults"]
    assert str(folder / "codebook") in fault


def test_encodings_of_earlier_versions_are_verified_but_not_read(workspace):
    root, folder = workspace
    without_inputs(folder)
    assert verify_workspace(root)["faults"] == []
    with pytest.raises(InputError, match=r"must record its inputs.*remove .* and encode again"):
        Encoding(folder).projections()
    other_slices(folder / "projection")
    (fault,) = verify_workspace(root)["faults"]
    assert "must contain parts made from the same slices" in fault
