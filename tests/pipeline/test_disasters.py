"""Full disks, read-only folders and damaged parts give one line of error, exit code 1, and no loss of data."""

import json
import os
import resource
import shutil
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest
import small  # noqa: F401  registers the small network
from finished import ENCODE, assert_refused, command, hashes

from ildfv.errors import InputError
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.verify import verify_workspace
from ildfv.store.lock import writing
from ildfv.store.parts import writing_parts


def models_and_slices(root: Path) -> dict[Path, str]:
    return {path: value for path, value in hashes(root).items() if path.parts[0] in ("models", "slices")}


@pytest.mark.slow
def test_a_file_size_limit_is_reported_and_the_next_run_resumes(root, done):
    before = models_and_slices(root)
    size = 30_000  # bytes that suffice for the mixture and the small files of its folder, but not for a part
    limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
    shutil.rmtree(root / "encodings", ignore_errors=True)
    ended = command(root, *ENCODE[:3], "-k", 64, "--passes", 1, preexec_fn=limited)
    assert_refused(ended)
    assert models_and_slices(root) == before
    assert command(root, *ENCODE, "--fresh").returncode == 0
    whole, again = (hashes(place / "encodings") for place in (done, root))
    assert {path: value for path, value in whole.items() if "regression" not in path.parts} == again


@pytest.mark.slow
@pytest.mark.parametrize("size", [300, 3000])  # bytes that are too few for the log, or for the model
def test_training_without_disk_space_is_reported_and_the_next_run_resumes(root, original, tmp_path, size):
    train = ("train", "--network", "small", "--epochs", 3, "--batch-size", 5)
    other = Path(shutil.copytree(original, tmp_path / "other"))
    for place in (root, other):
        shutil.rmtree(place / "models")
    limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
    assert_refused(command(root, *train, preexec_fn=limited))
    assert command(root, *train).returncode == 0
    assert command(other, *train).returncode == 0
    models = ("models/small/fold-0/model.safetensors", "results/cnn-small-fold-0.csv")
    assert [name for name in models if (root / name).read_bytes() != (other / name).read_bytes()] == []


@pytest.mark.slow
def test_a_full_disk_is_reported_and_the_next_run_resumes(root, done, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        (disk / "encodings").mkdir()
        (root / "encodings").symlink_to(disk / "encodings")
        assert_refused(command(root, *ENCODE), "not enough disk space for", "free")
    finally:
        subprocess.run(["umount", disk], check=True)
    (root / "encodings").unlink()
    assert command(root, *ENCODE).returncode == 0
    name = "encodings/conv1/fold-0/pca/model.safetensors"
    assert (root / name).read_bytes() == (done / name).read_bytes()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_named(encoded):
    before = hashes(encoded)
    read_only = ()
    if os.geteuid() == 0:  # root ignores permissions, but not a read-only mount
        script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
        read_only = ("unshare", "--mount", "sh", "-c", script, encoded)
        tried = subprocess.run([*read_only, "true"], capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"nothing can be mounted here: {tried.stderr.strip()}")
    else:
        for folder in (encoded, *(path for path in encoded.rglob("*") if path.is_dir())):
            folder.chmod(0o500)
    for arguments in (("encode", "--layer", "fc6"), ("regress",), ("folds",)):
        assert_refused(command(encoded, *arguments, before=read_only), str(encoded))
    assert hashes(encoded) == before


def test_the_error_of_a_second_writer_names_the_first(encoded):
    before = hashes(encoded)
    with writing(encoded / "encodings/conv1/fold-0"):
        assert_refused(command(encoded, *ENCODE), "is locked by", f"process {os.getpid()}")
    assert hashes(encoded) == before


def test_other_settings_are_refused_and_the_encoding_is_unchanged(encoded):
    before = hashes(encoded)
    assert_refused(command(encoded, *ENCODE[:3], "-k", 5), "components = 2, now 5", "--fresh")
    assert hashes(encoded) == before


@pytest.mark.parametrize(
    ("folder", "arguments"),
    [("slices", ("encode", "--layer", "fc6", "-k", 2)), ("encodings/conv1/fold-0/projection", ("regress",))],
)
def test_a_truncated_part_is_named_and_detected_by_verify(encoded, folder, arguments):
    part = sorted((encoded / folder).glob("*.h5"))[3]
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    assert_refused(command(encoded, *arguments), part.name, "must be")
    ended = command(encoded, "verify")
    assert ended.returncode == 1
    assert ", 1 fault\n" in ended.stdout
    assert part.name in ended.stdout


def test_a_flipped_bit_is_named_and_detected_by_verify(encoded):
    part = sorted((encoded / "encodings/conv1/fold-0/projection").glob("*.h5"))[3]
    data = bytearray(part.read_bytes())
    data[-3] ^= 1
    part.write_bytes(data)
    ended = command(encoded, "verify")
    assert (ended.returncode, part.name in ended.stdout) == (1, True)


def test_exchanged_parts_are_detected(encoded):
    projections = sorted((encoded / "encodings/conv1/fold-0/projection").glob("*.h5"))
    swap(projections)
    assert_refused(command(encoded, "regress"), "checksum mismatch", "ildfv verify")
    swap(projections)
    slices = sorted((encoded / "slices").glob("*.h5"))
    swap(slices)
    assert_refused(command(encoded, "stats"), slices[0].name, "must contain the series that its file name states")


def swap(paths: list[Path]) -> None:
    """Exchanges the first two files."""
    first, second, *_ = paths
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def test_a_modified_number_in_results_is_detected(encoded):
    path = encoded / "results/fv-conv1-fold-0.json"
    document = json.loads(path.read_text())
    document["per_pattern"]["reticular"]["auc"] = 0.99
    path.write_text(json.dumps(document))
    assert_refused(command(encoded, "report"), "fv-conv1-fold-0.json must be intact, got a checksum mismatch")
    (fault,) = verify_workspace(encoded)["faults"]
    assert f"remove {path} and repeat the `ildfv regress`" in fault


def test_concurrent_regressions_wait_for_each_other(encoded):
    held, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with writing(encoded / "results"):
            held.set()
            enough.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(60)
    timer = threading.Timer(2.0, enough.set)
    timer.start()
    assert regress_encoding(encoded).system == "fv-conv1"
    assert enough.is_set()
    other.join()


def test_a_lost_manifest_does_not_delete_parts(encoded):
    (encoded / "slices" / "manifest.json").unlink()
    parts = sorted((encoded / "slices").glob("*.h5"))
    with pytest.raises(InputError, match=r"parts but no manifest.json"), writing_parts(encoded / "slices", "k"):
        pass
    assert sorted((encoded / "slices").glob("*.h5")) == parts


def test_a_folder_without_a_fingerprint_is_not_resumed(encoded):
    folder = encoded / "encodings" / "conv1" / "fold-0"
    for name in ("claim.json", "encoding.json"):
        (folder / name).unlink()
    assert_refused(command(encoded, *ENCODE[:3], "-k", 5), "no claim.json", "--fresh")
