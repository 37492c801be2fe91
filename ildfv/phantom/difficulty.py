"""The two kinds of phantom patients: easy ones for tests and first steps, hard ones for comparing methods."""

from ildfv.errors import check
from ildfv.phantom.hard import draw_hard_patient
from ildfv.phantom.patient import EASY, HARD, Patient, draw_patient

DRAW = {EASY: draw_patient, HARD: draw_hard_patient}
DIFFICULTIES = tuple(DRAW)


def patient_of(seed: int, number: int, difficulty: str = EASY) -> Patient:
    """Patient `number` of `seed`. The result does not depend on the number of patients.

    Parameters
    ----------
    seed : int
        0 or more.
    number : int
        1 or more.
    difficulty : {"easy", "hard"}
        "easy": extensive, clearly visible disease, one kind of scanner. "hard": early, small, mixed and low-contrast
        disease, findings that resemble it, several scanners.

    Raises
    ------
    InputError
        If the difficulty is unknown.
    """
    check(difficulty in DRAW, f"difficulty must be {' or '.join(DIFFICULTIES)}, got {difficulty!r}")
    return DRAW[difficulty](seed, number)
