"""MODEL_CARD.md: training data, expected performance and intended use of a predictor."""

from __future__ import annotations

from ildfv.inference.schema import Head, PredictorInfo

PHANTOM = "**Trained on generated phantoms.** Its performance does not apply to patients."


def model_card(info: PredictorInfo) -> str:
    """The text of the card, Markdown."""
    training = info.training
    lines = [
        "# Model card",
        "",
        f"**{info.use}**",
        "",
        *([PHANTOM, ""] if training["data"] == "phantom" else []),
        "Detects ground glass, reticular, honeycomb and emphysema patterns on axial chest CT slices: "
        + "; ".join(_describe(head) for head in info.heads)
        + ".",
        "",
        "## Training data",
        "",
        f"- {training['fit_slices']} slices of {training['fit_patients']} patients for fitting; "
        f"{training['validation_slices']} slices of {training['validation_patients']} other patients for thresholds, "
        "calibration and ridge penalty.",
        f"- Pixel side {info.reference.pixel_side[0]:.2f} to {info.reference.pixel_side[1]:.2f} mm"
        + (
            "."
            if info.reference.spacing is None
            else f"; slices {info.reference.spacing[0]:.2f} to {info.reference.spacing[1]:.2f} mm apart."
        ),
        "- The predictor contains no slices, identities or paths.",
        "",
        "## Expected performance",
        "",
    ]
    for head in info.heads:
        p = head.performance
        lines += [
            f"{head.name}, on {p.slices} slices of {p.patients} held-out patients ({p.data} data), a pattern counts as "
            f"present from {head.threshold} pixels; 95 % intervals by patient:",
            "",
            "| pattern | slices with it | AUC | F |",
            "|---|---|---|---|",
        ]
        for name, row in p.patterns.items():
            auc, f = _estimate(row.auc, row.auc_interval), _estimate(row.f, row.f_interval)
            lines.append(f"| {name} | {row.positives} | {auc} | {f} |")
        lines.append("")
    lines += [
        "## Limits",
        "",
        "- Scans that differ from the training data (scanner, kernel, slice thickness, disease) may give "
        "wrong results; every prediction compares the scan with the training slices.",
        "- Each slice is predicted independently. No other findings are detected.",
        "",
        f"Written by ildfv {info.versions['ildfv']}.",
    ]
    return "\n".join(lines) + "\n"


def _describe(head: Head) -> str:
    if head.kind == "cnn":
        return f"{head.name} (outputs of the network)"
    where = "the whole slice" if head.region == "slice" else f"the {head.region}"
    return f"{head.name} (regression on Fisher vectors of {head.layer}, pooled over {where})"


def _estimate(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")
