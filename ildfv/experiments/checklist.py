"""The TRIPOD+AI and CLAIM checklists. Items that the software can answer are filled in; the author adds the others.

TRIPOD+AI: Collins et al., BMJ 2024;385:e078378, table 2 (27 items). CLAIM: Tejani et al., Radiology: Artificial
Intelligence 2024;6(4):e240300, the 2024 update (44 items). The item numbers are those of the checklists; the short
item names are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ildfv.evaluation.tables import Cell, Table
from ildfv.experiments.checklist_answers import answers
from ildfv.experiments.documents import CHECKLIST, ChecklistDocument
from ildfv.experiments.preset_views import PresetView

FILLED, PART, AUTHOR = "filled", "in part", "for the author to write"

# (item, number in TRIPOD+AI, number in CLAIM, key in `answers` or None, whether the author must complete the answer)
ITEMS: tuple[tuple[str, str, str, str | None, bool], ...] = (
    ("Title", "1", "1", None, True),
    ("Abstract", "2", "2", None, True),
    ("Background and existing models", "3a", "3", None, True),
    ("Target population, purpose, users", "3b", "", None, True),
    ("Known health inequalities", "3c", "", None, True),
    ("Objectives", "4", "4", None, True),
    ("Prospective or retrospective", "", "5", None, True),
    ("Study goal", "", "6", None, True),
    ("Sources of data", "5a", "7", "source", True),
    ("Dates", "5b", "", None, True),
    ("Setting and centres", "6a", "", None, True),
    ("Eligibility", "6b", "8", "eligibility", True),
    ("Treatments", "6c", "", None, True),
    ("Preparation of images", "7", "9", "preparation", False),
    ("Selection of data subsets", "", "10", "subsets", False),
    ("De-identification", "", "11", "identities", True),
    ("Missing data", "11", "12", "missing", False),
    ("Image acquisition", "", "13", None, True),
    ("Outcome, reference standard", "8a", "14", "outcome", True),
    ("Rationale for the reference standard", "", "15", None, True),
    ("Annotators of the label maps", "8b", "16, 17", None, True),
    ("Inter-rater variability", "", "18", None, True),
    ("Blinding of the outcome", "8c", "", None, True),
    ("Choice of predictors", "9a", "", "predictors", False),
    ("Definition of predictors", "9b", "", "predictors", False),
    ("Assessors of predictors", "9c", "", "assessors", False),
    ("Sample size", "10", "21", None, True),
    ("Partitions and their level", "12a", "19, 20", "partitions", False),
    ("Handling of predictors", "12b", "", "handling", False),
    ("Model and initial parameters", "12c", "22, 24", "model", False),
    ("Training, selection, ensembles", "12c", "25, 26, 27", "training", False),
    ("Software", "", "23", "software", False),
    ("Clusters", "12d", "", "clusters", True),
    ("Measures and uncertainty", "12e", "28, 29", "measures", False),
    ("Robustness, sensitivity", "", "30", "robustness", True),
    ("Explainability", "", "31", "explainability", True),
    ("Updating", "12f, 24", "", "updating", False),
    ("How predictions are calculated", "12g", "", "calculation", False),
    ("Class imbalance", "13", "", "imbalance", False),
    ("Fairness", "14", "", None, True),
    ("Output and thresholds", "15", "", "thresholds", False),
    ("Differences between development and evaluation data", "16", "", "differences", True),
    ("Ethical approval and consent", "17", "", None, True),
    ("Funding", "18a", "44", None, True),
    ("Conflicts of interest", "18b", "", None, True),
    ("Protocol", "18c", "42", None, True),
    ("Registration", "18d", "34", None, True),
    ("Availability of data", "18e", "43", None, True),
    ("Availability of code and model", "18f, 22", "43", "code", True),
    ("Patient and public involvement", "19", "", None, True),
    ("Flow of patients", "20a", "35", "flow", False),
    ("Characteristics of patients", "20b", "36", None, True),
    ("Patients and events in each analysis", "20c, 21", "", "counts", False),
    ("Performance on internal data", "23a", "32, 37, 38", "performance", True),
    ("Performance by cluster", "23b", "", None, True),
    ("Testing on external data", "", "33", "external", True),
    ("Analysis of failures", "", "39", "failures", True),
    ("Interpretation", "25", "", None, True),
    ("Limitations", "26", "40", None, True),
    ("Use in practice", "27a, 27b", "41", None, True),
    ("Further research", "27c", "", None, True),
)


def checklist(shown: Sequence[PresetView]) -> ChecklistDocument:
    """The checklist document: a table with the state and the content of each item.

    An answer that differs between the presets is given for each preset.
    """
    merged = _merged({view.title: answers(view.context) for view in shown})
    rows: list[list[Cell]] = []
    for name, tripod, claim, key, author in ITEMS:
        state = AUTHOR if key is None else PART if author else FILLED
        rows.append([name, tripod or None, claim or None, state, None if key is None else merged[key]])
    note = (
        "Item numbers of TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) and of the 2024 update of CLAIM (Tejani et "
        "al., Radiol Artif Intell 2024;6(4):e240300). The answers are generated from this workspace and do not replace "
        f"the authors' own report. The authors must complete the items whose state is “{PART}”, and write those whose "
        f"state is “{AUTHOR}”."
    )
    table = Table("Reporting checklist", ["item", "TRIPOD+AI", "CLAIM", "state", "content"], rows, note)
    return ChecklistDocument(
        kind=CHECKLIST,
        title="TRIPOD+AI and CLAIM",
        paper=None,
        preset=None,
        folds=[],
        tables=[table],
        notes=[],
    )


def _merged(by_preset: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """One text per item: the common answer, or the answer of each preset if they differ."""
    first = next(iter(by_preset.values()))
    return {
        key: text
        if all(of_preset[key] == text for of_preset in by_preset.values())
        else ". ".join(f"{title}: {of_preset[key]}" for title, of_preset in by_preset.items())
        for key, text in first.items()
    }
