"""`ildfv verify` names every damaged, missing or exchanged file of a workspace, with a remedy."""

import json

import pytest
import small  # noqa: F401  registers the small network
from finished import assert_refused, command

from ildfv.pipeline.verify import verify_workspace


def test_verify_names_parts_of_other_slices_in_an_unfinished_encoding(encoded):
    folder = encoded / "encodings/conv1/fold-0"
    (folder / "encoding.json").unlink()
    assert verify_workspace(encoded)["faults"] == []
    manifest = folder / "fisher/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"key": "another"}))
    (fault,) = verify_workspace(encoded)["faults"]
    assert f"{manifest} must have the key" in fault
    assert f"remove the folder {folder} and run `ildfv encode` again" in fault


def test_verify_finds_no_fault_in_an_intact_workspace(done):
    assert command(done, "verify").returncode == 0


DAMAGED = [
    ("folds.json", "ildfv folds"),
    ("results/fv-conv1-fold-0.json", "ildfv regress"),
    ("results/fv-conv1-fold-0.csv", "ildfv regress"),
    ("encodings/conv1/fold-0/encoding.json", "ildfv encode"),
    ("encodings/conv1/fold-0/projection/manifest.json", "ildfv encode"),
    ("encodings/conv1/fold-0/pca/model.safetensors", "ildfv encode"),
    ("encodings/conv1/fold-0/pca/model.json", "it is a copy of the metadata in"),
    ("models/small/fold-0/model.safetensors", "ildfv train"),
    ("slices/manifest.json", "ildfv prepare"),
]


@pytest.mark.parametrize(("name", "advice"), DAMAGED)
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"{}\n"], ids=["cut", "emptied"])
def test_verify_names_every_damaged_file_with_a_remedy(encoded, name, advice, damage):
    path = encoded / name
    path.write_bytes(damage(path.read_bytes()))
    (fault,) = verify_workspace(encoded)["faults"]
    assert str(path) in fault or str(path.parent) in fault
    assert advice in fault
    assert "\n" not in fault


@pytest.mark.parametrize(
    "name",
    ["pca/model.safetensors", "mixture/model.safetensors", "projection/manifest.json", "fisher/manifest.json"],
)
def test_verify_reports_missing_files_of_a_finished_encoding(encoded, name):
    (encoded / "encodings/conv1/fold-0" / name).unlink()
    faults = verify_workspace(encoded)["faults"]
    assert len(faults) == 1
    assert "is missing" in faults[0]
    assert f"remove the folder {encoded / 'encodings/conv1/fold-0'} and run `ildfv encode` again" in faults[0]


def test_verify_reports_broken_settings_in_one_line(encoded):
    (encoded / "workspace.toml").write_text("version = ", encoding="utf-8")
    assert_refused(command(encoded, "verify"), "workspace.toml must be TOML")


def test_verify_names_a_manifest_of_other_slices(encoded):
    manifest = encoded / "encodings/conv1/fold-0/fisher/manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"key": "another"}))
    (fault,) = verify_workspace(encoded)["faults"]
    assert f"{manifest} must list" in fault
    assert "with the key another" in fault
    assert "remove the folder" in fault


def test_verify_advises_to_prepare_slices_without_a_manifest_again(encoded):
    (encoded / "slices/manifest.json").write_text('{"format": 1')
    (fault,) = verify_workspace(encoded)["faults"]
    assert f"remove the folder {encoded / 'slices'} and run `ildfv prepare` on all scans again" in fault


@pytest.mark.parametrize(
    "name",
    [
        "slices/manifest.json",
        "folds.json",
        "models/small/fold-0/model.safetensors",
        "encodings/conv1/fold-0/claim.json",
        "encodings/conv1/fold-0/regression/model.safetensors",
        "results/fv-conv1-fold-0.json",
    ],
)
def test_verify_reports_missing_files_that_others_depend_on(encoded, name):
    (encoded / name).unlink()
    ended = command(encoded, "verify", "--json")
    assert ended.returncode == 1
    assert any(name.split("/")[-1] in fault for fault in json.loads(ended.stdout)["faults"])


def test_verify_follows_links_to_folders(encoded, tmp_path):
    (encoded / "slices").rename(tmp_path / "elsewhere")
    (encoded / "slices").symlink_to(tmp_path / "elsewhere")
    assert command(encoded, "verify").returncode == 0
    part = next((tmp_path / "elsewhere").glob("*.h5"))
    part.write_bytes(part.read_bytes()[:1000])
    ended = command(encoded, "verify")
    assert ended.returncode == 1
    assert part.name in ended.stdout.replace("\n", "")


def test_a_flipped_bit_in_a_models_header_is_a_fault_without_a_traceback(encoded):
    model = encoded / "encodings" / "conv1" / "fold-0" / "mixture" / "model.safetensors"
    content = model.read_bytes()
    model.write_bytes(content.replace(b"sha256", b"rha256", 1))
    ended = command(encoded, "verify", "--json")
    assert ended.returncode == 1
    assert any("must be a model written by ildfv" in fault for fault in json.loads(ended.stdout)["faults"])


def test_a_file_of_a_newer_version_must_not_be_removed(encoded):
    path = encoded / "folds.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 3', 1))
    faults = [fault for fault in verify_workspace(encoded)["faults"] if "folds.json" in fault]
    assert faults
    assert all(fault.endswith("got 3, which a newer version of ildfv wrote: update ildfv") for fault in faults)
