"""The tables that `predict` prints: the prediction for a scan, and the change between two scans."""

from __future__ import annotations

from ildfv.cli import output
from ildfv.counted import counted
from ildfv.inference.sentences import answered, no_area, no_probability, sentence

HEADINGS = ("pattern", "present", "slices", "probability", "highest\non a slice", "area,\ncm²", "look first\nat slices")


def print_answer(answer: dict) -> None:
    """Prints a table for each head of the predictor."""
    phantom = answer["predictor"]["data"] == "phantom"
    data = "predictor trained on PHANTOMS, not clinical" if phantom else "research use only"
    for number, (head_name, head) in enumerate(answer["heads"].items()):
        rows = [
            (
                pattern,
                answered(row["present"]),
                row["slices"],
                output.cell(row["probability"]),
                output.cell(row["highest_probability"]),
                None if row["area_cm2_present_slices"] is None else round(row["area_cm2_present_slices"]),
                ", ".join(str(z + 1) for z in row["look_first_at_slices"] or ()),
            )
            for pattern, row in head["scan"].items()
        ]
        notes = [*map(sentence, answer["notes"]), *answer["reliability"]] if number == 0 else []
        answers = head["scan"].items()
        if missing := [pattern for pattern, row in answers if row["present"] is None]:
            notes.append(f"The training data have no labels of {', '.join(missing)}.")
        notes += no_probability({p: row.get("no_probability") for p, row in answers if row["present"] is not None})
        if answer.get("spacing_mm") is not None:  # the notes of an image state that areas are unknown
            notes += no_area({p: row.get("no_area") for p, row in answers if row["present"] is not None})
        if poolings := {row["pooling"] for row in head["scan"].values() if row.get("pooling")}:
            what = "the highest score of a slice" if poolings == {"max"} else "the scores of all slices"
            notes.append(
                f'This head was fitted to labels of scans: "present" depends on {what}; "slices" is the number of '
                "slices whose own score is enough to make the pattern present."
            )
        count = counted(answer["slices"], "slice")
        output.table(
            f"{answer['scan']}, {count}, {head_name}: {data}",
            HEADINGS,
            rows,
            caption=" ".join([*notes, head["performance"]]),
        )


def print_change(found: dict) -> None:
    """Prints the areas before and after, and their change."""
    rows = [
        (pattern, *(output.cell(row[key]) for key in ("before_cm2", "after_cm2", "change_cm2")), _interval(row))
        for pattern, row in found["patterns"].items()
    ]
    output.table(
        f"{found['before']['scan']} to {found['after']['scan']}, {found['head']}: mean area on a slice, cm²",
        ["pattern", "before", "after", "change", "95 % interval"],
        rows,
        caption=" ".join([*map(sentence, found["notes"]), found["interval"]]),
    )


def _interval(row: dict) -> str | None:
    found = row["change_interval_cm2"]
    return None if found is None else f"{found[0]:+.3f} to {found[1]:+.3f}"
