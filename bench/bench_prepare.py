"""CPU time of `ildfv prepare` per 512×512 slice, by part, compared with other readers in one run.

    python bench/bench_prepare.py [--slices 24] [--rounds 5] [--output FILE]

Slices are of phantoms with label maps (uncompressed DICOM, gzipped NIfTI). Each round runs every part and reader once.
The median of the rounds is printed in ms of processor time of this process and its children, which is
hardly affected by other processes. `ratio` is relative to the bare read with pydicom, including pixels, in this run.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import torch

from ildfv.datasets.convert import Task, convert_scan, read_volume, scan_slices
from ildfv.datasets.discovery import discover
from ildfv.datasets.label_slices import label_slices
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.slice_store import write_scan
from ildfv.kernels.cores import available_cores
from ildfv.phantom.write import write_phantoms
from ildfv.scans.density import density
from ildfv.scans.labels import Codes
from ildfv.scans.lungs import lung_mask
from ildfv.scans.read_header import read_header
from ildfv.scans.series_slices import SeriesSlices
from ildfv.scans.volumefiles import read_label_file
from ildfv.scans.windows import SIZE, WINDOWS, windowed


def processor_seconds() -> float:
    """Processor time of this process and of the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)  # os.times counts in steps of 10 ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder) / "scans", patients=1, seed=1, slices_per_scan=given.slices, workers=1)
        rows = measure(parts(Path(folder)), given.rounds, given.slices)
    for row in rows:
        print(f"{row['name']:44}{row['ms per slice']:8.2f} ms{row['ratio']:8.2f} ×")
    if given.output:
        machine = {"processor": platform.processor() or platform.machine(), "cores": available_cores()}
        document = {"slices": given.slices, "rounds": given.rounds, "machine": machine, "rows": rows}
        given.output.write_text(json.dumps(document, indent=2) + "\n")


def measure(runs: dict, rounds: int, slices: int) -> list[dict]:
    """The median of each run over interleaved rounds, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            start = processor_seconds()
            run()
            if i:
                times[name].append(1e3 * (processor_seconds() - start) / slices)
    bare = median(times["bare read: pydicom"])
    return [
        {"name": name, "ms per slice": round(median(t), 3), "ratio": round(median(t) / bare, 3)}
        for name, t in times.items()
    ]


def parts(folder: Path) -> dict:
    """The measured functions, by name. Each takes no arguments and processes one whole scan."""
    codes = Codes.load("phantom")
    found = discover(folder / "scans", ScanSettings(codes=codes), workers=1)
    (scan,) = found.scans
    assert scan.dicom is not None
    files = [path for path, _ in scan.dicom.frames]
    volume = read_volume(scan)
    masks = [lung_mask(hu, volume.pixel_area) for hu in volume.hu]
    (folder / "store").mkdir()
    (folder / "out").mkdir()
    slices = scan_slices(scan, codes, "0123456789abcdef")
    task = Task(scan, codes, "0123456789abcdef", folder / "store", folder / "out", "key")

    def converted():
        outcome = convert_scan(task)
        assert outcome.row is not None, outcome.reason
        emptied()

    def stored():
        write_scan(folder / "out", slices, key="key")
        emptied()

    def emptied():
        for part in (folder / "out").iterdir():
            part.unlink()

    return {
        "bare read: pydicom": lambda: [pydicom_pixels(path) for path in files],
        "SimpleITK read + torch area resize": lambda: simpleitk_and_torch(files),
        "part: header scan": lambda: [read_header(path) for path in files],
        "part: read and check in HU": lambda: list(SeriesSlices(scan.dicom)),
        "part: windows": lambda: [windowed(hu) for hu in volume.hu],
        "part: lung mask": lambda: [lung_mask(hu, volume.pixel_area) for hu in volume.hu],
        "part: densitometry": lambda: [density(hu, mask) for hu, mask in zip(volume.hu, masks, strict=True)],
        "part: label map read (gzip)": lambda: read_label_file(scan.labels[0].path, scan.labels[0].kind),
        "part: label map read and translated": lambda: list(label_slices(scan, scan.geometry, codes)),
        "part: HDF5 and its checksum": stored,
        "convert: all but the header scan": converted,
        "prepare: header scan and convert": lambda: ([read_header(path) for path in files], converted()),
    }


def pydicom_pixels(path: Path) -> np.ndarray:
    """The pixels as pydicom gives them."""
    import pydicom

    return pydicom.dcmread(path).pixel_array


def simpleitk_and_torch(files: list[Path]) -> None:
    """The three windows, each resized by torch's area interpolation."""
    import SimpleITK

    for path in files:
        image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0]
        hu = torch.from_numpy(image.astype(np.float32))
        windows = torch.stack([(hu.clamp(low, high) - low) * (255 / (high - low)) for low, high in WINDOWS])
        torch.nn.functional.interpolate(windows[None], (SIZE, SIZE), mode="area").round().to(torch.uint8)


if __name__ == "__main__":
    main()
