"""TRIPOD+AI and CLAIM: what software can fill in of the reporting checklists, and what is left to the author.

Items are named in words, with TRIPOD+AI's numbers (Collins et al. 2024) where they have one; CLAIM's by its sections.
"""

from __future__ import annotations

from ildfv.experiments.lab import Lab
from ildfv.experiments.paper import paper
from ildfv.experiments.schema import Table
from ildfv.version import versions

AUTHOR = "for the author to write"
AUTHORS = (
    ("Title and abstract", "TRIPOD+AI 1–2; CLAIM Title, Abstract"),
    ("Background, intended use, objectives", "TRIPOD+AI 3–4; CLAIM Introduction"),
    ("Study design, setting, dates, eligibility of patients", "TRIPOD+AI 5–6; CLAIM Study design, Data"),
    ("How and by whom label maps were drawn, and their agreement", "TRIPOD+AI 8; CLAIM Reference standard"),
    ("Scanners, acquisition and de-identification at the source", "TRIPOD+AI 7, 9; CLAIM Data"),
    ("Why this number of patients is enough", "TRIPOD+AI 10; CLAIM Data partitions"),
    ("Demographics and disease severity of the patients", "TRIPOD+AI 20; CLAIM Results"),
    ("Fairness: performance in groups of patients", "TRIPOD+AI 14; CLAIM Evaluation"),
    ("Ethical approval and consent", "TRIPOD+AI 17"),
    ("Funding, conflicts, protocol, registration, data sharing", "TRIPOD+AI 18; CLAIM Other information"),
    ("Involvement of patients and public", "TRIPOD+AI 19"),
    ("External validation", "TRIPOD+AI 12, 23; CLAIM Evaluation"),
    ("Interpretation, limitations, use in practice", "TRIPOD+AI 25–27; CLAIM Discussion"),
)


def checklist(lab: Lab) -> dict:
    """{"title", "paper", "tables", "notes"}, as an experiment's document: items with who fills them, and how."""
    filled = [[item, where, "filled", text] for item, where, text in _filled(lab)]
    left = [[item, where, AUTHOR, None] for item, where in AUTHORS]
    note = "Filled from this workspace's files; nothing here replaces the authors' own account."
    table = Table("Reporting checklist", ["item", "where", "state", "content"], [*filled, *left], note)
    return {"title": "TRIPOD+AI and CLAIM", "paper": None, "tables": [vars(table)], "notes": []}


def _filled(lab: Lab) -> list[tuple[str, str, str]]:
    slices, folds, p = lab.slices, lab.folds, lab.preset
    labelled = slices.labelled
    patients = {"all": slices.patients, "labelled": slices.patients[labelled]}
    n = {name: len(set(map(str, values))) for name, values in patients.items()}
    series = len(set(map(str, slices.series)))
    held = lab.held_out()
    roles = [lab.roles(fold) for fold in held]
    sizes = "; ".join(
        f"fold {r.fold}: {len(r.fit)} fit, {len(r.validation)} validation, {len(r.test)} test slices" for r in roles
    )
    decisions = "; ".join(
        f"fold {one.fold}: " + ", ".join("–" if t is None else f"{t:.3g}" for t in one.decisions.thresholds)
        for one in lab.predictions(lab.base)
    )
    kind = "generated phantoms, not patients" if slices.data == "phantom" else "the user's own scans"
    return [
        (
            "Source of the data",
            "TRIPOD+AI 5; CLAIM Data",
            f"{kind}; the paper's {paper()['source']['data']} are not used",
        ),
        (
            "Flow of the data",
            "TRIPOD+AI 20; CLAIM Data",
            f"{n['all']} patients, {series} scans, {len(slices)} slices prepared; {n['labelled']} patients and "
            f"{int(labelled.sum())} slices with label maps enter; scans set aside are in prepare.json",
        ),
        (
            "Preparation of images",
            "TRIPOD+AI 7; CLAIM Data",
            "three windows (−1400…−950, −1400…200, −160…240 HU) as channels, averaged to 224×224, uint8",
        ),
        (
            "Definition of the outcome",
            "TRIPOD+AI 8; CLAIM Reference standard",
            f"a pattern is present on a slice from T pixels of its label map on the original grid; T = {lab.threshold} "
            "unless a table says otherwise",
        ),
        (
            "Missing data",
            "TRIPOD+AI 11; CLAIM Data",
            f"{int((~labelled).sum())} slices without a label map are neither trained nor tested on",
        ),
        (
            "Partitions",
            "TRIPOD+AI 12, 16; CLAIM Data partitions",
            f"{folds.n_folds} folds of whole patients, stratified by pattern, seed {folds.seed}; held out in turn: "
            f"{', '.join(map(str, held))}; one fifth of the training patients of each is its validation. {sizes}",
        ),
        (
            "Class imbalance",
            "TRIPOD+AI 13",
            "losses unweighted unless called balanced; no resampling; AUC and F per pattern beside prevalence",
        ),
        (
            "Models and training",
            "TRIPOD+AI 12, 21–22; CLAIM Model, Training",
            f"{p.network} from scratch, settings {vars(lab.base.settings)}; mixture of {p.components}, PCA to at most "
            f"{p.dimensions}, linear regression with ridge chosen on validation patients",
        ),
        (
            "Decision thresholds",
            "TRIPOD+AI 15; CLAIM Evaluation",
            f"largest F on validation patients; of the base CNN, {decisions}",
        ),
        (
            "Measures and uncertainty",
            "TRIPOD+AI 12, 23; CLAIM Evaluation, Results",
            "AUC, F, label-set measures, Brier score, calibration; 95 % intervals by resampling patients "
            f"{p.resamples} times; mean ± SD over folds; paired permutation tests by patient, not corrected for number",
        ),
        ("Software", "TRIPOD+AI 18; CLAIM Training", ", ".join(f"{name} {v}" for name, v in versions().items())),
    ]
