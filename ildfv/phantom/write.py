"""Phantom scans in a folder, one patient after another, on all cores."""

import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np

from ildfv.errors import check
from ildfv.phantom.dicom_series import dataset, heights, label_map, recorded_series, series_uid
from ildfv.phantom.patient import draw_patient
from ildfv.phantom.scanner import Scanner
from ildfv.progress import SILENT, Progress
from ildfv.store.outputs import write_output
from ildfv.streaming.processes import Died, each

# Thin sections about 10 mm apart, as in the classic high-resolution protocol: 24 cover a chest of 205 … 290 mm.
SLICES_PER_SCAN = 24


def write_phantoms(
    folder: Path | str,
    *,
    patients: int,
    seed: int,
    slices_per_scan: int = SLICES_PER_SCAN,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """The patients' folders: `patient-0001/ct/*.dcm` (a DICOM CT series) and `patient-0001/labels.nii.gz` each.

    Sections are thin (1 … 1.5 mm) and evenly spaced over the whole lung, `slices_per_scan` of them (10 mm apart at
    the default). Label codes are those of codes/phantom.toml, a copy of which lies in `folder` as `codes.toml`.
    Patient n of a seed is the same bytes whatever the number of patients or workers; files are not named in slice
    order. A finished patient is kept, one that was interrupted is drawn again.

    Raises InputError if an argument is out of range, or `folder` holds another scan or another codes.toml where those
    of phantoms belong.
    """
    check(1 <= patients <= 9999, f"patients must be 1 … 9999, got {patients}")
    check(seed >= 0, f"seed must be 0 or more, got {seed}")
    check(1 <= slices_per_scan <= 2000, f"slices_per_scan must be 1 … 2000, got {slices_per_scan}")
    check(workers is None or workers >= 1, f"workers must be 1 or more, got {workers}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = (files("ildfv.scans") / "codes/phantom.toml").read_bytes()
    write_output(folder / "codes.toml", table, table, "the table of codes of phantoms")
    jobs = [(folder, seed, number, slices_per_scan) for number in range(1, patients + 1)]
    # One worker needs no process of its own.
    done = enumerate(map(write_patient, jobs)) if workers == 1 else each(write_patient, jobs, workers)
    with progress.task("Drawing phantoms", total=patients) as advance:
        for index, result in done:
            if result is Died:
                raise RuntimeError(f"the process drawing patient {index + 1} was ended from outside (out of memory?)")
            advance()
    return [patient_folder(folder, number) for number in range(1, patients + 1)]


def patient_folder(folder: Path, number: int) -> Path:
    return folder / f"patient-{number:04d}"


def write_patient(job: tuple[Path, int, int, int]) -> None:
    """Series and label map of one patient, (folder, seed, number, slices), under a temporary name until complete."""
    folder, seed, number, slices = job
    target, patient = patient_folder(folder, number), draw_patient(seed, number)
    if target.exists():
        found, expected = recorded_series(target), series_uid(patient, slices)
        check(
            found == expected,
            f"folder must be empty or hold phantoms of the same seed and slices_per_scan, got another scan in {target}",
        )
        return
    unfinished = folder / f".{target.name}.tmp"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    (unfinished / "ct").mkdir(parents=True)
    scanner = Scanner(patient)
    names = patient.rng("names").permutation(slices)  # order comes from position, never from names
    labels = []
    for index, z in enumerate(heights(patient, slices)[0]):
        hu, codes = scanner.slice(float(z))
        file = unfinished / "ct" / f"IM{names[index] + 1:04d}.dcm"
        dataset(patient, hu, index, slices).save_as(file, enforce_file_format=True)
        labels.append(codes)
    (unfinished / "labels.nii.gz").write_bytes(label_map(patient, np.stack(labels), slices))
    unfinished.rename(target)
