"""MODEL_CARD.md: training data, expected performance and intended use of a predictor."""

from __future__ import annotations

from collections.abc import Iterator

from ildfv.counted import counted
from ildfv.evaluation.baselines import MEAN, Verdict, statement
from ildfv.inference.schema import CNN, Head, PredictorInfo
from ildfv.inference.sentences import NOT_LABELLED, enumerated
from ildfv.patterns import extent_text

PHANTOM = "**Trained on generated phantoms.** Its performance does not apply to patients."
HIGHEST = (
    "- The highest score of many slices exceeds the threshold more often than the score of one slice, so presence on a "
    "scan has more false positives than presence on a slice. The probability for a scan is calibrated on scans."
)
BAGS = (
    "- Heads that were fitted to labels of scans also score slices. How well these scores find the slices with a "
    "pattern was not measured, and slices have no probability. Presence on a slice means that this slice alone would "
    "make the pattern present on the scan."
)
INTENDED = (
    "Intended use: research on axial chest CT, to rank and preselect slices for a reader and to compare methods. Not "
    "intended: diagnosis, treatment, screening, or measurements that inform decisions about a patient."
)


def model_card(info: PredictorInfo) -> str:
    """The text of the card, in Markdown."""
    training = info.training
    lines = [
        "# Model card",
        "",
        f"**{info.use}**",
        "",
        *([PHANTOM, ""] if training["data"] == "phantom" else []),
        INTENDED,
        "",
        "Detects ground glass, reticular, honeycomb and emphysema patterns on axial chest CT slices: "
        + "; ".join(_describe(head) for head in info.heads)
        + f". The primary head, shown first, is {info.primary}.",
        "",
        "## Training data",
        "",
        *_training(info),
        "",
        "## Expected performance",
        "",
    ]
    for head in info.heads:
        lines += [*_performance(info, head), ""]
    lines += [
        "## Limits",
        "",
        *([BAGS] if any(head.bags is not None for head in info.heads) else []),
        "- Results may be wrong for scans that differ from the training data (scanner, kernel, slice thickness, "
        "disease). Every prediction therefore compares the scan with the training slices.",
        "- Each slice is predicted independently. No other findings are detected.",
        *([HIGHEST] if any(head.bags is None for head in info.heads) else []),
        "",
        f"Written by ildfv {info.versions['ildfv']}.",
    ]
    return "\n".join(lines) + "\n"


def _training(info: PredictorInfo) -> Iterator[str]:
    training, reference = info.training, info.reference
    fitted = f"{counted(training['fit_slices'], 'slice')} of {counted(training['fit_patients'], 'patient')}"
    if training["all_patients"]:
        yield (
            f"- Mixture, PCA and regression are fitted on all {fitted}. Thresholds, calibration and expected "
            f"performance are from {training['folds']}-fold cross-validation by patient: each slice was scored by "
            "models that were fitted without its patient. The exported models themselves were not tested."
        )
        trained = [name for name, one in info.networks.items() if one.trained]
        if trained:
            what, verb, it = ("network", "is", "It was") if len(trained) == 1 else ("networks", "are", "They were")
            yield (
                f"- The {what} {enumerated(trained)} {verb} not refitted. {it} trained without the patients of fold "
                f"{training['held_out_fold']}."
            )
    else:
        yield (
            f"- Models are fitted on {fitted}. Thresholds, calibration and ridge penalty are determined on "
            f"{counted(training['validation_slices'], 'slice')} of "
            f"{counted(training['validation_patients'], 'other patient')}. Fold "
            f"{training['held_out_fold']} of {training['folds']} was held out."
        )
        if any(head.regression != "linear" for head in info.heads):
            yield (
                "- Ridge and logistic heads are fitted on both groups of patients. Their thresholds and calibration "
                "are determined by cross-validation over these patients."
            )
    if (grey := info.preparation.grey) is not None:
        yield (
            f"- Slices are images with grey levels of {grey.low:g} … {grey.high:g} HU (`{grey.option}`) and unknown "
            f"pixel sizes: the longer side is taken to be {grey.field:g} mm. Only images with this window can be "
            "predicted. Areas in cm² are not given."
        )
    sides = reference.pixel_side
    spacing = "" if reference.spacing is None else "; slices {:.2f} to {:.2f} mm apart".format(*reference.spacing)
    thickness = "" if reference.thickness is None else "; slices {:.2f} to {:.2f} mm thick".format(*reference.thickness)
    if grey is None:
        yield f"- Pixel side {sides[0]:.2f} to {sides[1]:.2f} mm{spacing}{thickness}."
        for what, scans in (("Manufacturers", reference.manufacturers), ("Convolution kernels", reference.kernels)):
            named = ", ".join(f"{name} ({counted(n, 'scan')})" for name, n in scans.items())
            yield f"- {what} of the training scans: {named or 'unknown'}."
    preparation = info.preparation.options
    if not preparation.is_default:
        yield f"- Scans are prepared with `{preparation.described()}`; new scans are prepared in the same way."
    for name, one in info.networks.items():
        if one.weights_sha256:
            yield f"- The weights of {name} ({one.architecture}) are not included: SHA-256 {one.weights_sha256}."
        elif not one.trained:
            yield f"- The network {name} ({one.architecture}) has frozen weights from a file, which are included."
    yield "- The predictor contains no slices, identities or paths."


def _performance(info: PredictorInfo, head: Head) -> Iterator[str]:
    p = head.performance
    where = f"fold {p.fold}" if p.fold is not None else f"{counted(len(p.folds), 'fold')} pooled"
    if head.bags is not None:
        rule = (
            "Labels and measures apply to scans. The score of a scan is pooled from the scores of its slices "
            f"({head.bags})."
        )
    elif head.pixel_counts:
        rule = f"A pattern counts as present if it covers at least {extent_text(head.threshold)}."
    else:
        rule = "Labels state which patterns a slice shows, without their extent."
    yield (
        f"{head.name} on {counted(p.slices, p.unit)} of {counted(p.patients, 'held-out patient')} ({p.data} data, "
        f"{where}). {rule} 95 % intervals are from resampled patients."
    )
    yield ""
    compared = {one.measure: one.cell for one in _verdicts(head)}
    yield f"| pattern | {p.unit}s with it | AUC | F | AUC minus AUC of the best baseline (95 %) |"
    yield "|---|---|---|---|---|"
    for name, row in p.patterns.items():
        auc, f = _estimate(row.auc, row.auc_interval), _estimate(row.f, row.f_interval)
        positives = NOT_LABELLED if name in head.unlabelled else row.positives
        yield f"| {name} | {positives} | {auc} | {f} | {compared.get(name, '–')} |"
    if MEAN in compared:
        yield f"| mean AUC | | | | {compared[MEAN]} |"
    yield ""
    yield against_baselines(head)
    yield ""
    yield _sets(head, list(p.patterns))


def against_baselines(head: Head) -> str:
    """A sentence on whether a head beats the best baseline."""
    return statement(head.name, _verdicts(head))


def _verdicts(head: Head) -> list[Verdict]:
    found = head.performance.baselines
    return [Verdict(head.name, one.baseline, one.measure, one.difference, one.interval) for one in found]


def _sets(head: Head, patterns: list[str]) -> str:
    """A sentence on the conformal sets of a head."""
    sets = head.conformal
    if sets is None:
        return f"{head.name} has no conformal sets: {head.no_conformal}."
    counts = ", ".join(
        f"{name} {present} and {absent}"
        for name, present, absent in zip(patterns, sets.present_patients, sets.absent_patients, strict=True)
    )
    approximate = (
        " The scores are from the models of several folds, so the level is approximate for the exported head."
        if sets.cross_validated
        else ""
    )
    return (
        f"The conformal sets of {head.name} at {sets.level:.0%} were calibrated on held-out patients. Number of "
        f"patients with slices that show the pattern and with slices that do not: {counts}.{approximate}"
    )


def _describe(head: Head) -> str:
    if head.kind == CNN:
        return f"{head.name} (outputs of the network)"
    where = "the whole slice" if head.region == "slice" else f"the {head.region}"
    more = f" and {len(head.inputs)} densities of the lung" if head.inputs else ""
    return f"{head.name} ({head.regression} regression on Fisher vectors of {head.layer}, pooled over {where}{more})"


def _estimate(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")
