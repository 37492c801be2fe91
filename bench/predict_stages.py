"""Runs `ildfv` with the arguments given, and writes the seconds of each stage of a prediction to a JSON file.

    python bench/predict_stages.py STAGES.json predict SCAN -p PREDICTOR …

The command runs unchanged, in this process. Its functions are timed by wrappers that are set when their modules are
imported, so that the order of imports is that of the command. Wall seconds since the start of the process: started (the
interpreter runs this file), imports_done (the predictor is loaded), scan_found, scan_read, first_slice (the first batch
of slices has scores), scored, mapped, written. Sums of wall seconds: network (forward passes for the scores) and
encoding (everything else from maps of activations to scores). cpu_KEY: CPU seconds of the process at that time.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path

found: dict[str, float] = {}


def age() -> float:
    """Seconds since the start of this process."""
    started = int(Path("/proc/self/stat").read_text().rsplit(") ", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def mark(key: str) -> None:
    """Records the wall and CPU seconds at the first call."""
    if key not in found:
        found[key], found[f"cpu_{key}"] = age(), cpu()


def at_end(owner, name: str, key: str) -> None:
    """Replaces owner.name by a function that records when it has returned for the first time."""
    real = getattr(owner, name)

    @wraps(real)
    def timed(*args, **options):
        result = real(*args, **options)
        mark(key)
        return result

    setattr(owner, name, timed)


def _predict(module) -> None:
    at_end(module, "read_volume", "scan_read")
    at_end(module, "prepared", "scored")


def _predictor(module) -> None:
    real = module.Predictor.batch_scores

    @wraps(real)
    def timed(*args, **options):
        before, network = time.monotonic(), found.get("network", 0.0)
        result = list(real(*args, **options))
        spent = time.monotonic() - before - (found.get("network", 0.0) - network)
        found["encoding"] = found.get("encoding", 0.0) + spent
        mark("first_slice")
        return result

    module.Predictor.batch_scores = timed
    at_end(module.Predictor, "contributions", "mapped")


def _layers(module) -> None:
    real = module.Layers.of

    @wraps(real)
    def timed(*args, **options):
        before = time.monotonic()
        result = real(*args, **options)
        found["network"] = found.get("network", 0.0) + time.monotonic() - before
        return result

    module.Layers.of = timed


def _inbox(module) -> None:
    real = module.predict_all

    @wraps(real)
    def timed(*args, **options):
        mark("imports_done")
        return real(*args, **options)

    module.predict_all = timed
    at_end(module, "jobs", "scan_found")


def _outputs(module) -> None:
    at_end(module, "write_prediction", "written")


AFTER_IMPORT: dict[str, Callable] = {
    "ildfv.inference.predict": _predict,
    "ildfv.inference.predictor": _predictor,
    "ildfv.inference.layers": _layers,
    "ildfv.inference.inbox": _inbox,
    "ildfv.inference.outputs": _outputs,
}


class Hook(importlib.abc.MetaPathFinder):
    """Calls the functions of `AFTER_IMPORT` on their modules when these have been imported."""

    def find_spec(self, name, path=None, target=None):
        if name not in AFTER_IMPORT:
            return None
        sys.meta_path.remove(self)  # the other finders
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def run(module) -> None:
            execute(module)
            AFTER_IMPORT[name](module)

        spec.loader.exec_module = run
        return spec


def main() -> None:
    mark("started")
    out = Path(sys.argv[1])
    sys.argv = ["ildfv", *sys.argv[2:]]
    sys.meta_path.insert(0, Hook())
    from ildfv.cli import main as command

    try:
        command()
    finally:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        mark("total")
        found["peak_mb"] = usage.ru_maxrss / 1024
        out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
