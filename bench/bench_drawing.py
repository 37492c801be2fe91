"""CPU time per phantom slice and per patient. With --other, the time and the bytes of another checkout are compared.

    OMP_NUM_THREADS=1 python bench/bench_drawing.py [--other ../before] [--patients 7] [--heights 6] [--seed 0]

The time of a patient is that of drawing its anatomy, before any slice. The two checkouts take turns. Compiled parts
must be built in each of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[1]


class Checkout:
    """A process that draws with the code in a folder."""

    def __init__(self, folder: Path):
        command = [sys.executable, __file__, "--serve", str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *request) -> list:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def serve(folder: str) -> None:
    """Answers requests, lists in JSON, until the input ends.

    A request [seed, number, difficulty] draws a patient; the answer is [CPU milliseconds]. A request [height], relative
    to the height of the lung, draws a slice; the answer is [CPU milliseconds, checksum of its bytes].
    """
    sys.path.insert(0, folder)
    from ildfv.phantom import difficulty, scanner

    assert Path(scanner.__file__).is_relative_to(folder), scanner.__file__
    for line in sys.stdin:
        request = json.loads(line)
        start = time.process_time()
        if len(request) == 3:
            drawn = scanner.Scanner(difficulty.patient_of(*request))
            answer = []
        else:
            hu, codes = drawn.slice(request[0] * drawn.patient.height)
            answer = [hashlib.sha256(hu.tobytes() + codes.tobytes()).hexdigest()]
        print(json.dumps([1000 * (time.process_time() - start), *answer]), flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--other", type=Path, help="folder of another checkout")
    options.add_argument("--patients", type=int, default=7)
    options.add_argument("--heights", type=int, default=6)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--serve", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.serve:
        return serve(given.serve)
    folders = [HERE, *([given.other.resolve()] if given.other else [])]
    checkouts = [Checkout(folder) for folder in folders]
    heights = [*((np.arange(given.heights) + 0.5) / given.heights)]
    for difficulty in ("easy", "hard"):
        patients, slices, different = [], [], 0
        for number in range(1, given.patients + 1):
            patients.append([c.ask(given.seed, number, difficulty)[0] for c in checkouts])
            for u in heights:
                answers = [c.ask(u) for c in checkouts]
                slices.append([milliseconds for milliseconds, _ in answers])
                different += len({checksum for _, checksum in answers}) > 1
        for i, folder in enumerate(folders):
            slice_ms, patient_ms = np.mean(slices, axis=0)[i], np.mean(patients, axis=0)[i]
            print(f"{difficulty}, {folder}: {slice_ms:.1f} ms per slice, {patient_ms:.0f} ms per patient")
        if given.other:
            print(f"{difficulty}: {different} of {len(slices)} slices differ")


if __name__ == "__main__":
    main()
