"""A Slurm cluster of two nodes on this machine: `python cluster.py COMMAND …` runs COMMAND in it, then stops it.

Needs root and Debian's packages slurm-wlm and munge. Daemons, keys and logs are in a temporary folder. The names of the
nodes are added to a copy of /etc/hosts that only this process and its children see.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "unshare")
WAIT = 120  # seconds for the nodes to become idle

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
RebootProgram=/bin/true
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """The reason why no cluster can be started here, or "" if one can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"needs {', '.join(absent)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "needs root, to start the daemons"


@contextmanager
def cluster(folder: Path):
    """Starts the daemons; yields the environment in which Slurm's commands find them."""
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    host = socket.gethostname()
    ports = free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000 State=UNKNOWN"
        for node, port in zip(NODES, ports[1:], strict=True)
    )
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, controller=ports[0], nodes=nodes))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    with ExitStack() as running:
        files = {"key-file": key.name, "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
        options = [f"--{option}={folder / name}" for option, name in (files | {"seed-file": "munged.seed"}).items()]
        _start(running, ["munged", "--foreground", "--force", *options], environment, folder / "munged.out")
        _wait_for((folder / "munge.socket").exists, "munged does not answer", folder)
        _start(running, ["slurmctld", "-D"], environment, folder / "slurmctld.out")
        for node in NODES:
            _start(running, ["slurmd", "-D", "-N", node], environment, folder / f"slurmd-{node}.out")
        _wait_for(lambda: _idle(environment) == len(NODES), "the nodes do not become idle", folder)
        yield environment


def _start(running: ExitStack, command: list[str], environment: dict, output: Path) -> None:
    log = running.enter_context(output.open("wb"))
    process = running.enter_context(subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT))
    running.callback(process.terminate)


def _idle(environment: dict) -> int:
    listed = subprocess.run(["sinfo", "-h", "-N", "-o", "%t"], env=environment, capture_output=True, text=True)
    return listed.stdout.split().count("idle")


def _wait_for(ready, reason: str, folder: Path) -> None:
    deadline = time.monotonic() + WAIT
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{log.name}: {log.read_text()[-800:]}" for log in sorted(folder.glob("*.log")))
            raise RuntimeError(f"{reason} within {WAIT} s\n{logs}")
        time.sleep(0.2)


def free_ports(n: int) -> list[int]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def main() -> None:
    if reason := missing():
        sys.exit(f"error: a Slurm cluster {reason}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        hosts = folder / "hosts"
        hosts.write_text(Path("/etc/hosts").read_text() + f"\n127.0.0.1 {' '.join(NODES)} {socket.gethostname()}\n")
        if "ILDFV_SLURM_INSIDE" not in os.environ:  # once more, with its own view of /etc/hosts
            script = 'mount --bind "$0" /etc/hosts && exec "$@"'
            inside = ["unshare", "--mount", "sh", "-c", script, str(hosts), sys.executable, *sys.argv]
            sys.exit(subprocess.run(inside, env=os.environ | {"ILDFV_SLURM_INSIDE": "1"}).returncode)
        with cluster(folder) as environment:
            sys.exit(subprocess.run(sys.argv[1:], env=environment).returncode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
