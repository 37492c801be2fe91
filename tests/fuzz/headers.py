"""A fuzzer for scan headers: any file must give a scan or one line of error, within a time limit and 1 GB.

    python tests/fuzz/headers.py --seconds 3600 --keep findings

runs for an hour and leaves the files of each finding in `findings/`. Case n of a seed is always the same:

    python tests/fuzz/headers.py --case 1234 --keep findings

Cases run in a child process, which is killed if a case takes more than HANG seconds; a new child continues after it.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import mutations
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, outside pytest
from scan_files import ScanFiles

MEMORY = 1 << 30  # bytes that a case may use in addition to those of the libraries
HANG = 30.0  # seconds
SALT = "0123456789abcdef"
SPOILT = {  # file to corrupt → function that corrupts it
    "dicom/slice.dcm": mutations.dicom,
    "nifti/scan.nii": mutations.nifti,
    "gzip/scan.nii.gz": mutations.compressed(mutations.nifti),
    "nrrd/scan.nrrd": mutations.nrrd,
    "nrrd-gzip/scan.nrrd": mutations.nrrd,
    "seg/seg.dcm": mutations.dicom,
    "contours/contours.dcm": mutations.dicom,
}
NAMES = {1: "healthy", 2: "ground glass", 5: "emphysema"}


def write_originals(folder: Path) -> None:
    """A good scan of each format: a chest of 3 slices of 64×64."""
    hu = ScanFiles.chest(3)
    for number, path in enumerate(sorted(ScanFiles.series(folder / "dicom", hu, series="1.2.3", patient="P-1"))):
        path.rename(path.with_name("slice.dcm" if number == 1 else f"other{number}.dcm"))
    ScanFiles.nifti(folder / "nifti/scan.nii", hu)
    ScanFiles.nifti(folder / "gzip/scan.nii.gz", hu)
    ScanFiles.nrrd(folder / "nrrd/scan.nrrd", hu, encoding="raw")
    ScanFiles.nrrd(folder / "nrrd-gzip/scan.nrrd", hu)
    codes = ScanFiles.codes(hu)
    for name in ("seg", "contours"):
        for number, path in enumerate(sorted(ScanFiles.series(folder / name, hu, series="1.2.3", patient="P-1"))):
            path.rename(path.with_name(f"other{number}.dcm"))
    ScanFiles.seg(folder / "seg/seg.dcm", folder / "seg", codes, NAMES)
    box = ScanFiles.box(1, (20, 40), (12, 25))
    ScanFiles.contours(folder / "contours/contours.dcm", folder / "contours", {"emphysema": [box], "healthy": []})


def write_case(originals: Path, folder: Path, seed: int, number: int) -> None:
    """Writes the files of one case: those of a good scan, one of them corrupted."""
    random = np.random.default_rng([seed, number])
    name, mutate = list(SPOILT.items())[number % len(SPOILT)]
    for path in (originals / name).parent.iterdir():
        data = path.read_bytes()
        (folder / path.name).write_bytes(mutate(data, random) if path.name == Path(name).name else data)


def fault_of(folder: Path, *, resample: bool = False) -> dict | None:
    """The fault in reading the files; None if each is part of a scan or excluded with a reason of one line."""
    from ildfv.datasets.convert import scan_slices
    from ildfv.datasets.discovery import discover
    from ildfv.datasets.settings import ScanSettings
    from ildfv.errors import InputError
    from ildfv.scans.labels import Codes
    from ildfv.scans.libraries import quiet

    codes = Codes.load("phantom")
    reasons = []
    try:
        with quiet():
            found = discover(folder, ScanSettings(codes=codes, resample=resample), workers=1)
            reasons += [left.reason for left in (*found.quarantined, *found.ignored)]
            for scan in found.scans:
                try:
                    scan_slices(scan, codes, SALT)
                except InputError as error:
                    reasons.append(str(error))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/ildfv/" in frame.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        return {"what": f"{type(error).__name__}: {error}"[:300], "where": place}
    for reason in reasons:
        if len(reason.splitlines()) != 1:
            return {"what": f"a reason of several lines: {reason[:200]!r}", "where": ""}
        if "MemoryError" in reason:  # caught by a reader, but the memory was requested
            return {"what": f"memory: {reason[:200]}", "where": ""}
    return None


def run_cases(originals: Path, seed: int, first: int, end: float, seconds: float) -> None:
    """Runs the cases from `first` up to `end` for `seconds`, in a child process.

    Prints {"at": number} before each case and one JSON line per finding.
    """
    with tempfile.TemporaryDirectory() as place:
        for name in SPOILT:  # imports all readers, before memory is limited
            fault = fault_of((originals / name).parent)
            if fault is not None:
                raise RuntimeError(f"the good scan {name} must be read, got {fault}")
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        number, deadline = first, time.monotonic() + seconds
        while number < end and (number == first or time.monotonic() < deadline):
            print(json.dumps({"at": number}), flush=True)
            case = Path(place) / str(number)
            case.mkdir()
            write_case(originals, case, seed, number)
            faulthandler.dump_traceback_later(HANG, exit=True)
            fault = fault_of(case, resample=bool(number // len(SPOILT) % 2))
            faulthandler.cancel_dump_traceback_later()
            if fault is not None:
                print(json.dumps({"case": number, **fault}), flush=True)
            for path in case.iterdir():
                path.unlink()
            case.rmdir()
            number += 1


def fuzz(seconds: float, *, seed: int = 0, first: int = 0, most: float = math.inf) -> tuple[int, list[dict]]:
    """Number of cases run in `seconds`, at most `most`, and the findings, one of each kind."""
    deadline, number, findings = time.monotonic() + seconds, first, {}
    end = first + most
    with tempfile.TemporaryDirectory() as place:
        write_originals(Path(place))
        while number < end and (number == first or time.monotonic() < deadline):
            at = number
            for line in _child(Path(place), seed, number, end, max(0.0, deadline - time.monotonic())):
                if "at" in line:
                    at = line["at"]
                else:
                    kind = (line["what"].partition(":")[0], line["where"])
                    findings.setdefault(kind, line)
            number = at + 1
    return number - first, list(findings.values())


def _child(originals: Path, seed: int, first: int, end: float, seconds: float) -> Iterator[dict]:
    """The lines of a child, followed by a finding if a case ended the child."""
    command = [sys.executable, __file__, "--child", originals, "--seed", seed, "--first", first, "--end", end]
    command += ["--seconds", seconds]
    at = first
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        for text in running.stdout or ():
            line = json.loads(text)
            at = line.get("at", at)
            yield line
        stderr = running.stderr.read() if running.stderr else ""
    if running.returncode:
        yield {"case": at, "what": f"ended with {running.returncode}: {stderr[-1500:]}", "where": stderr[-200:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--end", type=float, default=math.inf, help="number after that of the last case")
    parser.add_argument("--case", type=int, help="only this case")
    parser.add_argument("--keep", type=Path, help="folder for the files of findings")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        run_cases(given.child, given.seed, given.first, given.end, given.seconds)
        return
    seconds, first = (0.001, given.case) if given.case is not None else (given.seconds, given.first)
    cases, findings = fuzz(seconds, seed=given.seed, first=first, most=given.end - first)
    for finding in findings:
        print(json.dumps(finding))
        if given.keep:
            keep(given.keep / f"case-{finding['case']}", given.seed, finding["case"])
    print(f"{cases:,} cases, {len(findings)} findings")
    sys.exit(bool(findings))


def keep(folder: Path, seed: int, number: int) -> None:
    """Writes the files of a case into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        write_originals(Path(place))
        write_case(Path(place), folder, seed, number)


if __name__ == "__main__":
    main()
