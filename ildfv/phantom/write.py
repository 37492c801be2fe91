"""Writing phantom scans to a folder, in parallel over patients."""

import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np

from ildfv.errors import check
from ildfv.phantom.dicom_series import dataset, heights, label_map, recorded_series, series_uid
from ildfv.phantom.difficulty import DIFFICULTIES, patient_of
from ildfv.phantom.patient import EASY
from ildfv.phantom.scanner import Scanner
from ildfv.progress import SILENT, Progress
from ildfv.store.outputs import check_folder, write_output
from ildfv.streaming.processes import Died, as_completed

# Thin sections about 10 mm apart, as in interspaced high-resolution CT: 24 cover lungs of 205 … 290 mm.
SLICES_PER_SCAN = 24


def write_phantoms(
    folder: Path | str,
    *,
    patients: int,
    seed: int,
    slices_per_scan: int = SLICES_PER_SCAN,
    difficulty: str = EASY,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """Writes one phantom scan per patient and returns their folders.

    A folder contains `ct/*.dcm` (a DICOM CT series) and `labels.nii.gz` (its label map).
    Patient n of a seed has the same bytes for any number of patients or workers. File names do not follow slice order.
    Patients that an earlier run has written completely are kept.

    Parameters
    ----------
    folder : path
        Created if it does not exist. `codes.toml`, the meaning of the label codes, is also written to it.
    patients : int
        Number of patients, one scan each.
    seed : int
        Seed of all random draws.
    slices_per_scan : int
        Sections evenly spaced over the lung, about 10 mm apart with the default.
    difficulty : {"easy", "hard"}
        "easy": extensive, clearly visible disease and sections of 1 … 1.5 mm. "hard": early, small, mixed and
        low-contrast disease, findings that resemble it, and several scanners, kernels, doses and section thicknesses
        (1 … 5 mm), which the DICOM headers record.
    workers : int, optional
        Number of processes; one per core by default.

    Raises
    ------
    InputError
        An argument is out of range, `folder` is not writable or is no folder, it contains another scan under the name
        of a phantom or another codes.toml, or no process can be started.
    RuntimeError
        A process was killed, for example because the memory is exhausted.
    """
    check(1 <= patients <= 9999, f"patients must be 1 … 9999, got {patients}")
    check(seed >= 0, f"seed must be 0 or more, got {seed}")
    check(1 <= slices_per_scan <= 2000, f"slices_per_scan must be 1 … 2000, got {slices_per_scan}")
    check(workers is None or workers >= 1, f"workers must be 1 or more, got {workers}")
    check(difficulty in DIFFICULTIES, f"difficulty must be {' or '.join(DIFFICULTIES)}, got {difficulty!r}")
    folder = Path(folder)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = (files("ildfv.scans") / "codes/phantom.toml").read_bytes()
    write_output(folder / "codes.toml", table, table, "the code table of phantoms")
    jobs = [(folder, seed, number, slices_per_scan, difficulty) for number in range(1, patients + 1)]
    # A single worker runs in this process.
    done = enumerate(map(write_patient, jobs)) if workers == 1 else as_completed(write_patient, jobs, workers)
    with progress.task("Drawing phantoms", total=patients) as advance:
        for index, result in done:
            if result is Died:
                raise RuntimeError(f"the process that drew patient {index + 1} was killed (out of memory?)")
            advance()
    return [patient_folder(folder, number) for number in range(1, patients + 1)]


def patient_folder(folder: Path, number: int) -> Path:
    """The folder of the scan of patient `number`."""
    return folder / f"patient-{number:04d}"


def write_patient(job: tuple[Path, int, int, int, str]) -> None:
    """Writes series and label map of one patient. The folder has a temporary name until it is complete.

    job: (folder, seed, number, slices, difficulty). InputError: the folder has another scan of this name.
    """
    folder, seed, number, slices, difficulty = job
    target, patient = patient_folder(folder, number), patient_of(seed, number, difficulty)
    if target.exists():
        found, expected = recorded_series(target), series_uid(patient, slices)
        check(
            found == expected,
            f"{folder} must be empty or contain phantoms of the same seed, slices_per_scan and difficulty, "
            f"got another scan in {target}: choose another folder",
        )
        return
    unfinished = folder / f".{target.name}.tmp"
    if unfinished.exists():
        shutil.rmtree(unfinished)
    (unfinished / "ct").mkdir(parents=True)
    scanner = Scanner(patient)
    names = patient.rng("names").permutation(slices)  # readers must order slices by position
    labels = []
    for index, z in enumerate(heights(patient, slices)[0]):
        hu, codes = scanner.slice(float(z))
        file = unfinished / "ct" / f"IM{names[index] + 1:04d}.dcm"
        dataset(patient, hu, index, slices).save_as(file, enforce_file_format=True)
        labels.append(codes)
    (unfinished / "labels.nii.gz").write_bytes(label_map(patient, np.stack(labels), slices))
    unfinished.rename(target)
