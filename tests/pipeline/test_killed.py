"""A run killed at any moment is resumed, and its bytes equal those of an uninterrupted run."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

CHILD = """
import hashlib, os, random, shutil, signal, sys, time
from pathlib import Path
from small import QUICK, make_workspace
import ildfv.store.parts
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.regress import regress_encoding
import ildfv.train.activations, ildfv.train.trainer, ildfv.pipeline.devices

root = Path(sys.argv[1])
ildfv.store.parts.FLUSH_SECONDS = 0.05

def work(workspace):
    for layer in ("conv1", "fc6"):
        settings = EncodeSettings(
            layer=layer, components=4, dimensions=10, passes=6, batch_size=4, tolerance=QUICK
        )
        encode_slices(workspace, settings)
        regress_encoding(workspace, layer=layer)

def child(workspace):
    process = os.fork()  # nothing has run in parallel yet, so a fork is safe and saves the imports
    if process == 0:
        work(workspace)
        os._exit(0)
    return process

def made(workspace):
    # Bytes of all results. JSON files with times and lock files are excluded.
    kept = (".h5", ".safetensors", ".csv", "manifest.json", "encoding.json")
    files = [p for p in (workspace / "encodings").rglob("*") if p.name.endswith(kept)]
    files += (workspace / "results").glob("*")
    hashes = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.is_file()}
    return {p.relative_to(workspace).as_posix(): value for p, value in hashes.items()}

def compare():
    one, two = made(root / "whole"), made(root / "killed")
    assert one.keys() == two.keys(), sorted(one.keys() ^ two.keys())
    different = [name for name in one if one[name] != two[name]]
    assert not different, different
    assert len(one) > 30
    return len(one)

process = os.fork()
if process == 0:
    make_workspace(root / "whole")
    os._exit(0)
assert os.waitpid(process, 0)[1] == 0
shutil.copytree(root / "whole", root / "killed")
started = time.monotonic()
assert os.waitpid(child(root / "whole"), 0)[1] == 0
whole = time.monotonic() - started
draw, kills, finished = random.Random(int(sys.argv[2])), 0, 0
while kills < int(sys.argv[3]):
    process = child(root / "killed")
    time.sleep(draw.uniform(0, whole * 0.5))
    if os.waitpid(process, os.WNOHANG)[0]:  # it finished before the kill: start over
        finished += 1
        compare()
        shutil.rmtree(root / "killed" / "encodings")
        shutil.rmtree(root / "killed" / "results")
        continue
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    kills += 1
assert os.waitpid(child(root / "killed"), 0)[1] == 0
print(kills, "kills,", finished, "finished before,", compare(), "files equal")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_encode_and_regress_survive_sixty_kills(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), "0", "60"], cwd=HERE, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.startswith("60 kills")
