"""On two Slurm nodes, encode and regress give the result of one process, also if the job is requeued after a kill."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ildfv.store.models import load_model

HERE = Path(__file__).parent
SLURM = HERE.parent / "slurm"
sys.path.insert(0, str(SLURM))

import cluster  # noqa: E402  needs the path above

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(cluster.missing()), reason=f"a Slurm cluster {cluster.missing()}"),
]
TOLERANCE = 1e-12  # relative to the largest entry; sums over ranks are added in another order


def in_cluster(job_arguments: list, log: Path) -> str:
    """Submits the job to a cluster of two nodes, waits for its end and returns its log."""
    environment = os.environ | {"PYTHON": sys.executable, "PORT": str(cluster.free_ports(1)[0])}
    submit = ["sbatch", "--wait", f"--output={log}", SLURM / "job.sh", HERE / "ranks.py", *job_arguments]
    line = [sys.executable, SLURM / "cluster.py", *submit]
    ended = subprocess.run([*map(str, line)], cwd=HERE, env=environment, capture_output=True, text=True)
    text = log.read_text() if log.exists() else ""
    assert ended.returncode == 0, f"{ended.stderr[-2000:]}\n{text[-3000:]}"
    return text


def parts(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("encodings/**/*.h5")}


def assert_same_models(one: Path, two: Path) -> None:
    files = sorted(one.glob("encodings/**/model.safetensors"))
    assert len(files) >= 6
    for file in files:
        a, _ = load_model(file.parent)
        b, _ = load_model(two / file.parent.relative_to(one))
        for name in a.keys() - {"standard_errors_"}:
            scale = np.abs(a[name]).max(initial=1e-300)
            np.testing.assert_allclose(b[name], a[name], rtol=0, atol=TOLERANCE * scale, err_msg=f"{file} {name}")


def test_two_nodes_agree_with_one_process_and_a_requeued_job_has_the_same_bytes(root, original, tmp_path):
    copies = [Path(shutil.copytree(original, tmp_path / name)) for name in ("alone", "killed")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "ranks.py", copies[0]], cwd=HERE, env=environment, check=True)
    in_cluster([root], tmp_path / "job.log")
    assert_same_models(copies[0], root)
    memory = tmp_path / "memory"
    in_cluster([copies[1], memory], tmp_path / "killed.log")
    assert memory.read_text() == "killed"
    assert parts(copies[1]) == parts(root)
