"""`prepare` killed at random moments: the resumed run gives the bytes of an uninterrupted one.

The work is done in the killed process; test_prepare.py shows that worker processes end with their parent.
"""

import os
import subprocess
import sys

import pytest

CHILD = """
import os, random, shutil, signal, sys, time
from pathlib import Path
import ildfv.datasets.discovery, ildfv.datasets.prepare_run, ildfv.store.parts
from ildfv.pipeline.prepare import prepare_scans

root, kills = Path(sys.argv[1]), int(sys.argv[2])
ildfv.store.parts.FLUSH_SECONDS = 0.02
for module in (ildfv.datasets.discovery, ildfv.datasets.prepare_run):
    if hasattr(module, "as_completed"):
        module.as_completed = lambda function, items, workers=None: ((i, function(x)) for i, x in enumerate(items))

def child(name):
    process = os.fork()
    if process == 0:
        prepare_scans(root / "scans", root / name, codes="phantom", salt="0123456789abcdef")
        os._exit(0)
    return process

def made(name):
    return {p.name: p.read_bytes() for p in (root / name / "slices").iterdir() if p.suffix in (".h5", ".json")}

started = time.monotonic()
assert os.waitpid(child("whole"), 0)[1] == 0
whole, draw, done, finished = time.monotonic() - started, random.Random(0), 0, 0
while done < kills:
    process = child("killed")
    time.sleep(draw.uniform(0, whole * 0.5))
    if os.waitpid(process, os.WNOHANG)[0]:  # it finished before the kill: start over
        assert made("killed") == made("whole")
        shutil.rmtree(root / "killed")
        finished += 1
        continue
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    done += 1
assert os.waitpid(child("killed"), 0)[1] == 0
assert made("killed") == made("whole"), sorted(made("killed").keys() ^ made("whole").keys())
assert not list((root / "killed").rglob(".writing-*"))
print(done, "kills,", finished, "finished before,", len(made("whole")), "files equal")
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_prepare_survives_thirty_kills(tmp_path, files):
    for i in range(6):
        hu = files.chest(4, seed=i)
        files.series(tmp_path / "scans" / f"p{i}" / "ct", hu, series=f"1.2.{i}", patient=f"P-{i}")
        files.nifti(tmp_path / "scans" / f"p{i}" / "labels.nii.gz", files.codes(hu))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), "30"], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.startswith("30 kills")
