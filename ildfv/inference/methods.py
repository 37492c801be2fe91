"""A paragraph for the Methods section of a paper that describes how a predictor makes its predictions."""

from __future__ import annotations

from ildfv.counted import counted
from ildfv.inference.cnn_methods import CnnMethod
from ildfv.inference.schema import CNN, Head, PredictorInfo
from ildfv.inference.sentences import enumerated, sentence
from ildfv.patterns import extent_text
from ildfv.scans.windows import GRID


def methods_paragraph(info: PredictorInfo, checksum: str, cnn_maps: CnnMethod | None = None) -> str:
    """The paragraph as plain text, in the past tense.

    checksum: SHA-256 of the predictor. cnn_maps: the method of the maps of the network's outputs, if there are any.
    """
    training = info.training
    windows = ", ".join(f"{low:g} to {high:g}" for low, high in info.windows)
    data = "computer-generated phantom" if training["data"] == "phantom" else "CT"
    sentences = [
        f"CT slices were analysed with ildfv {info.versions['ildfv']} (predictor {checksum[:12]}, research use only).",
        *_prepared(info),
        f"Each axial slice was mapped to three attenuation windows ({windows} HU) and resampled to {info.size} × "
        f"{info.size} pixels.",
        *(_head(info, head) for head in info.heads),
        *_fitted(info, data),
    ]
    if training["all_patients"]:
        sentences.append(
            "Decision thresholds, probability calibration and expected performance were determined by "
            f"{training['folds']}-fold cross-validation with folds split by patient."
        )
    else:
        sentences.append(
            "Decision thresholds and probability calibration were determined on training patients held out from the "
            "fit, and performance on the patients of another held-out fold."
        )
    primary = next(head for head in info.heads if head.name == info.primary)
    aucs = [
        f"{row.auc:.2f}"
        + ("" if row.auc_interval is None else " (95 % CI {:.2f} to {:.2f})".format(*row.auc_interval))
        + f" for {name}"
        for name, row in primary.performance.patterns.items()
        if row.auc is not None
    ]
    if aucs:
        p = primary.performance
        sentences.append(
            f"On {p.slices} {p.unit}s of {p.patients} held-out patients, the area under the ROC curve of "
            f"{primary.name} was " + ", ".join(aucs) + "."
        )
    sentences.append(_presence(primary, info.reference.grid or (GRID, GRID)))
    if cnn_maps is not None:
        sentences.append(cnn_maps.methods)
    return " ".join(sentences)


def _prepared(info: PredictorInfo) -> list[str]:
    """A sentence for each option by which scans are prepared."""
    found, sentences = info.preparation, []
    if found.normalise is not None:
        used = "the air around the body" + (" and soft tissue" if "tissue" in found.normalise else "")
        sentences.append(f"Hounsfield units were normalised with the measured attenuation of {used}.")
    if (grey := found.grey) is not None:
        sentences.append(
            f"Slices were images whose grey levels were mapped linearly to {grey.low:g} to {grey.high:g} Hounsfield "
            f"units; their longer side was taken to be {grey.field:g} mm."
        )
    if found.pixel_size is not None:
        sentences.append(f"Slices were resampled to 512 × 512 pixels of {found.pixel_size:g} mm.")
    if found.noise_level is not None:
        sentences.append(
            f"Scans with more than {found.noise_level:g} HU of noise in soft tissue were smoothed to this level by a "
            "Gaussian filter."
        )
    if found.lungs == "lungmask":
        sentences.append("The lung was segmented with lungmask (U-net R231).")
    return sentences


def _fitted(info: PredictorInfo, data: str) -> list[str]:
    """Sentences on the slices that the models were fitted on. data: "CT", or the name of phantom data."""
    training, networks = info.training, info.networks.values()
    frozen = sorted({f"the frozen {one.architecture} network" for one in networks if not one.trained})
    trained = sorted({f"the {one.architecture} network" for one in networks if one.trained})
    earlier = trained if training["all_patients"] else []  # trained networks are not refitted
    models = f"All models except {enumerated([*frozen, *earlier])}" if frozen or earlier else "All models"
    fitted = f"{training['fit_slices']} {_slices(info, data)} of {counted(training['fit_patients'], 'patient')}"
    sentences = [f"{models} were fitted on {fitted}."]
    if earlier:
        verb = "was" if len(earlier) == 1 else "were"
        sentences.append(sentence(f"{enumerated(earlier)} {verb} trained without the patients of one fold"))
    return sentences


def _slices(info: PredictorInfo, data: str) -> str:
    """The kind of slices that the models were fitted on. data: "CT", or the name of phantom data."""
    of_scans = any(head.bags is not None for head in info.heads)
    return f"{data} slices of labelled scans" if of_scans else f"labelled {data} slices"


def _presence(head: Head, grid: tuple[int, int]) -> str:
    """A sentence on when a pattern counted as present. grid: see `Reference`."""
    low, high = grid
    of = f"a {low} × {low} grid" if low == high else f"a grid of {low} to {high} rows or columns"
    if head.bags is not None:
        pooled = "noisy-or, 1 − Π (1 − p)" if head.bags == "noisy-or" else "maximum"
        return (
            "Reference labels stated which patterns a scan showed, but not on which slices. The score of a scan was "
            f"pooled from the scores of its slices by multiple-instance logistic regression ({pooled})."
        )
    if not head.pixel_counts:
        return "Reference labels stated which patterns a slice showed, without their extent."
    return (
        f"A pattern counted as present on a slice if it was estimated to cover at least {head.threshold} pixels "
        "of a 512 × 512 grid."
        if head.target == "counts"
        else "Reference presence was defined as at least "
        f"{extent_text(head.threshold, f' on {of}')}{' of the slice' * isinstance(head.threshold, str)}."
    )


def _head(info: PredictorInfo, head: Head) -> str:
    if head.kind == CNN:
        assert head.network is not None
        return f"Patterns were predicted by the outputs of a {info.networks[head.network].architecture} network."
    parts = [info.encodings[part.encoding] for part in head.parts]
    where = "the whole slice" if head.region == "slice" else f"the {head.region}"
    layers = " and ".join(
        one.layer if one.network is None else f"layer {one.layer} of {info.networks[one.network].architecture}"
        for one in parts
    )
    k = parts[0].estimators["mixture"]["settings"].get("n_components")
    kind = {"linear": "multivariate linear", "ridge": "ridge", "logistic": "logistic"}[head.regression]
    more = f" and {len(head.inputs)} densitometric measures of the lung" if head.inputs else ""
    return (
        f"Descriptors of {layers}, pooled over {where}, were encoded as {'improved ' if parts[0].improved else ''}"
        f"Fisher vectors of a Gaussian mixture with {counted(k, 'component')}, reduced by principal component "
        f"analysis, and mapped to pattern scores by {kind} regression"
        f"{more and ' together with' + more[4:]} ({head.name})."
    )
