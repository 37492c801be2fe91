"""Work in processes: every item has a result; a killed worker loses only its own item."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from ildfv.streaming.processes import Died, as_completed, kept_workers


def square(x):
    return x * x


def square_or_die(x):
    if x % 5 == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return x * x


def own_pid(x):
    return os.getpid()


def write_pid_and_sleep(path):
    if path is not None:
        path.write_text(str(os.getpid()))
        time.sleep(3600)


def fail(x):
    raise OSError(f"no room for {x}")


def test_every_item_has_one_result():
    assert dict(as_completed(square, range(7), workers=2)) == {i: i * i for i in range(7)}
    assert dict(as_completed(square, [], workers=2)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("keep", [nullcontext, kept_workers])
def test_a_killed_worker_loses_only_its_own_item(keep):
    with keep():
        results = list(as_completed(square_or_die, range(9), workers=2))
        later = dict(as_completed(square, range(3), workers=2))
    assert len(results) == 9
    assert dict(results) == {i: Died if i % 5 == 3 else i * i for i in range(9)}
    assert later == {0: 0, 1: 1, 2: 4}


def test_kept_workers_are_the_same_processes_in_all_calls():
    with kept_workers(1):
        first, second = (dict(as_completed(own_pid, [0], workers=1)) for _ in range(2))
    assert first == second
    assert not Path("/proc").exists() or not Path("/proc", str(first[0])).exists()


def test_kept_workers_are_replaced_after_an_exception():
    with kept_workers(1):
        with pytest.raises(OSError, match="no room for 1"):
            list(as_completed(fail, [1], workers=1))
        assert dict(as_completed(square, [3], workers=1)) == {0: 9}


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("keep", [nullcontext, kept_workers])
def test_an_exception_in_the_parent_kills_workers_immediately(tmp_path, keep):
    pid = tmp_path / "pid"
    with keep():
        results = as_completed(write_pid_and_sleep, [pid, None], workers=2)
        assert next(results) == (1, None)
        _until(lambda: pid.exists() and pid.read_text())
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            results.throw(KeyboardInterrupt)
        assert time.monotonic() - started < 300  # the worker sleeps for an hour
        assert not Path("/proc", pid.read_text()).exists()


def test_an_exception_is_raised_in_the_parent():
    with pytest.raises(OSError, match="no room for 1"):
        list(as_completed(fail, [1], workers=1))


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "if __name__ != '__main__': raise SystemExit('no start')"])
def test_a_script_that_its_workers_cannot_import_is_refused(tmp_path, before):
    (tmp_path / "job.py").write_text(
        "from ildfv.streaming.processes import as_completed\n"
        + before
        + "\nlist(as_completed(abs, range(9), workers=2))\n"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    job = [sys.executable, "job.py"]
    ended = subprocess.run(job, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, timeout=600)
    assert ended.returncode == 1
    last = ended.stderr.decode().strip().splitlines()[-1]
    assert last.endswith(
        "InputError: worker processes must be able to start, got processes that end at once: in a script, put calls "
        'under `if __name__ == "__main__":`, because each worker imports the script'
    )


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    (tmp_path / "job.py").write_text(
        textwrap.dedent("""
            import os, sys, time
            from ildfv.streaming.processes import as_completed
            def work(x):
                open(f"pid-{x}", "w").write(str(os.getpid()))
                time.sleep(60)
            if __name__ == "__main__":
                list(as_completed(work, [0, 1], workers=2))
        """)
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    job = subprocess.Popen([sys.executable, "job.py"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths})
    pids = [tmp_path / "pid-0", tmp_path / "pid-1"]
    _until(lambda: all(path.exists() and path.read_text() for path in pids))
    job.kill()
    job.wait()
    _until(lambda: not any(Path("/proc", path.read_text()).exists() for path in pids))


def _until(holds, seconds=300):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.05)
