"""Full disks, read-only folders and damaged parts give one line of error, exit code 1, and no loss of data."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import small  # noqa: F401  registers the small network
from command_line import ildfv

from ildfv.errors import InputError
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.verify import verify_workspace
from ildfv.store.lock import writing
from ildfv.store.parts import writing_parts

HERE = Path(__file__).parent
ENCODE = ("encode", "--layer", "conv1", "-k", 2, "--dimensions", 10, "--passes", 2)


def command(root, *arguments, before=(), **options) -> subprocess.CompletedProcess:
    """Runs `ildfv …` on the workspace, in a separate process if the process is limited or mounts something."""
    if not before and not options:
        return ildfv(*arguments, "--workspace", root)
    line = [*before, sys.executable, HERE / "command.py", *arguments, "--workspace", root]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*map(str, line)], capture_output=True, text=True, env=environment, **options)


def assert_refused(ended: subprocess.CompletedProcess, *words: str) -> None:
    """Checks for exit code 1, nothing on stdout and, after the progress, one line of error with all these words."""
    assert ended.returncode == 1, ended.stderr[-2000:]
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr, ended.stderr[-2000:]
    *_, last = ended.stderr.strip().splitlines()
    assert last.startswith("error: "), ended.stderr[-2000:]
    for word in words:
        assert word in last


def hashes(root: Path) -> dict[Path, str]:
    kept = (".h5", ".safetensors", ".json")
    files = [path for path in root.rglob("*") if path.suffix in kept]
    return {path.relative_to(root): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def done(original, tmp_path_factory):
    """A workspace that is encoded and regressed."""
    root = Path(shutil.copytree(original, tmp_path_factory.mktemp("done") / "workspace"))
    for arguments in (ENCODE, ("regress",)):
        ended = command(root, *arguments)
        assert ended.returncode == 0, ended.stderr
    return root


@pytest.fixture
def encoded(done, tmp_path):
    return Path(shutil.copytree(done, tmp_path / "encoded"))


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


def test_verify_names_parts_of_other_slices_in_an_unfinished_encoding(encoded):
    folder = encoded / "encodings/conv1/fold-0"
    (folder / "encoding.json").unlink()
    assert verify_workspace(encoded)["faults"] == []
    manifest = folder / "fisher/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"key": "another"}))
    (fault,) = verify_workspace(encoded)["faults"]
    assert f"{manifest} must have the key" in fault
    assert f"remove the folder {folder} and run `ildfv encode` again" in fault


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
    assert verify_workspace(encoded)["faults"] == []
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


def test_a_lost_manifest_does_not_delete_parts(encoded):
    (encoded / "slices" / "manifest.json").unlink()
    parts = sorted((encoded / "slices").glob("*.h5"))
    with pytest.raises(InputError, match=r"parts but no manifest.json"), writing_parts(encoded / "slices", "k"):
        pass
    assert sorted((encoded / "slices").glob("*.h5")) == parts


def test_verify_follows_links_to_folders(encoded, tmp_path):
    (encoded / "slices").rename(tmp_path / "elsewhere")
    (encoded / "slices").symlink_to(tmp_path / "elsewhere")
    assert command(encoded, "verify").returncode == 0
    part = next((tmp_path / "elsewhere").glob("*.h5"))
    part.write_bytes(part.read_bytes()[:1000])
    ended = command(encoded, "verify")
    assert ended.returncode == 1
    assert part.name in ended.stdout.replace("\n", "")


def test_a_folder_without_a_fingerprint_is_not_resumed(encoded):
    folder = encoded / "encodings" / "conv1" / "fold-0"
    for name in ("claim.json", "encoding.json"):
        (folder / name).unlink()
    assert_refused(command(encoded, *ENCODE[:3], "-k", 5), "no claim.json", "--fresh")


def test_a_flipped_bit_in_a_models_header_is_a_fault_without_a_traceback(encoded):
    model = encoded / "encodings" / "conv1" / "fold-0" / "mixture" / "model.safetensors"
    content = model.read_bytes()
    model.write_bytes(content.replace(b"sha256", b"rha256", 1))
    ended = command(encoded, "verify", "--json")
    assert ended.returncode == 1
    assert any("must be a model written by ildfv" in fault for fault in json.loads(ended.stdout)["faults"])
