"""The comparison of a scan with the training scans names what differs, in both directions."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from scan_files import ScanFiles

from ildfv.estimators.fixed import FixedProjection
from ildfv.inference.batch import SliceBatch
from ildfv.inference.heads import FisherEncoding
from ildfv.inference.pooled_encodings import Texture
from ildfv.inference.predictor import Predictor
from ildfv.inference.reliability import statements
from ildfv.inference.schema import Reference, Sigmoid
from ildfv.scans.technique import UNKNOWN, Technique

REFERENCE = Reference(
    log_likelihood={"conv1": np.linspace(-30, -10, 101).tolist()},
    pixel_side=(0.6, 0.8),
    spacing=(1.0, 2.5),
    scan_log_likelihood={"conv1": (-22, -18)},
    lung_area=(150, 300),
    field=(307.2, 409.6),
    thickness=(1.25, 1.25),
    air=(-1003, -996),
    kernels={"B30f": 12, "STANDARD": 3},
    scan_slices=(5, 9),
    residual={"conv1": np.linspace(0.3, 0.5, 101).tolist()},
    scan_residual={"conv1": (0.36, 0.44)},
)
KNOWN = Technique(1.25, "B30f")
ALIKE = (
    "Pixel size, field of view, slice spacing, slice thickness, convolution kernel, HU of air, lung area, "
    "texture likelihood and PCA residual are within the range of the training slices."
)


def judged(
    reference=REFERENCE,
    *,
    likelihood=-20.0,
    residual=0.4,
    lung=200.0,
    side=0.7,
    field=358.4,
    spacing=1.25,
    technique=KNOWN,
    air=-1000,
    has_size=True,
    sigmoids=(Sigmoid(slope=1.0, intercept=0.0), None),
):
    """The texts on a scan with these properties."""
    predictor = SimpleNamespace(
        info=SimpleNamespace(reference=reference, heads=[SimpleNamespace(scan_sigmoids=list(sigmoids))]),
        texture=lambda slices, encoding: Texture(*(np.full(len(slices), value) for value in (likelihood, residual))),
    )
    volume = SimpleNamespace(
        pixel_area=side**2,
        paper_pixel_area=(field / 512) ** 2,
        spacing=(spacing, side, side),
        hu=chest(air),
        technique=technique,
    )
    slices, areas = SliceBatch(np.empty((9, 1, 1, 1)), side**2), np.array([0.0] * 8 + [lung])
    return statements(predictor, volume, slices, areas, has_size=has_size)


def chest(air):
    """A square body in air of this HU; None: the scan is only body."""
    hu = np.full((9, 100, 100), 40 if air is None else air)
    hu += np.random.default_rng(0).integers(-9, 10, hu.shape)
    hu[:, 30:70, 30:70] = 40
    return hu


def test_a_scan_like_the_training_scans_is_reported_as_similar():
    assert judged() == [ALIKE]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lung": 11}, "shows 11 cm² of lung; on the training scans, the corresponding slices show 150 to 300 cm²."),
        ({"lung": 500}, "The slice with the most lung shows 500 cm² of lung"),
        ({"side": 1.5}, "Pixels are 1.50 mm wide"),
        ({"field": 512}, "The field of view is 512 mm; that of the training scans is 307 to 410 mm. Slices are scaled"),
        ({"spacing": 10}, "Slices are 10.00 mm apart"),
        (
            {"technique": replace(KNOWN, thickness=10)},
            "Slices are 10.00 mm thick; the training slices are 1.25 mm thick.",
        ),
        (
            {"technique": replace(KNOWN, kernel="B70f")},
            "The convolution kernel is B70f; the training scans have B30f (12 scans) and STANDARD (3).",
        ),
        ({"air": -950}, "The air around the body has −950 HU; on the training scans, it has −1003 to −996 HU."),
        (
            {"residual": 0.7},
            "half of the slices less well than that of 99 % of the slices of validation patients (median relative",
        ),
        ({"residual": 0.47}, "less well than that of the validation scans (median relative residual 0.470, validation"),
        ({"likelihood": -35}, "a texture that is less likely than the texture of 99 % of the training slices"),
        ({"likelihood": -5}, "a texture that is more likely than the texture of 99 % of the training slices"),
        ({"likelihood": -23.5}, "less likely than the texture of the training scans"),
        ({"likelihood": -16.5}, "more likely than the texture of the training scans"),
    ],
)
def test_each_difference_is_named(change, words):
    summary, sentence = judged(**change)
    assert summary == "The scan differs from the training data in 1 respect."
    assert words in sentence


def test_values_a_little_outside_the_range_are_accepted():
    for change in (
        {"lung": 125},
        {"lung": 370},
        {"likelihood": -22.9},
        {"likelihood": -17.1},
        {"side": 0.83},
        {"air": -985},
        {"technique": replace(KNOWN, thickness=1)},
        {"residual": 0.45},
        {"residual": 0.1},
    ):
        assert len(judged(**change)) == 1, change


def test_what_the_scan_does_not_state_is_not_compared():
    (summary,) = judged(technique=UNKNOWN, air=None)
    assert summary == (
        "Pixel size, field of view, slice spacing, lung area, texture likelihood and PCA residual are within the "
        "range of the training slices. Slice thickness, convolution kernel and HU of air were not compared, "
        "because they are unknown for this scan."
    )


HIGH = "The probability of a scan is calibrated for scans of that size, so it is too high for this scan."


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        ((1, 4), f"have 1 to 4. {HIGH}"),
        ((1, 5), None),
        ((18, 30), None),
        ((19, 30), "is too low for this scan."),
        (None, None),
    ],
)
def test_a_scan_of_many_more_or_fewer_slices_has_a_less_reliable_probability(trained, said):
    _, *found = judged(REFERENCE.model_copy(update={"scan_slices": trained}))
    assert len(found) == (said is not None)
    assert all(text.startswith("The scan has 9 slices; the training scans") and text.endswith(said) for text in found)


@pytest.mark.parametrize("sigmoids", [(), (None, None)])
def test_the_effect_on_the_probability_is_not_stated_if_there_is_none(sigmoids):
    _, found = judged(REFERENCE.model_copy(update={"scan_slices": (1, 4)}), sigmoids=sigmoids)
    assert found == "The scan has 9 slices; the training scans have 1 to 4."


def test_differences_are_named_before_what_was_not_compared():
    summary, difference, rest = judged(technique=UNKNOWN, air=None, side=1.5)
    assert summary == "The scan differs from the training data in 1 respect."
    assert "ixels" in difference
    assert "were not compared" in rest


def test_a_scan_that_cannot_be_compared_is_not_called_alike():
    assert judged(likelihood=np.nan, residual=np.nan, has_size=False) == [
        "The scan could not be compared with the training data.",
        "Texture likelihood and PCA residual were not compared, because they are unknown for this scan.",
    ]


def test_earlier_predictors_compare_what_they_have():
    old = Reference(log_likelihood=REFERENCE.log_likelihood, pixel_side=(0.6, 0.8), spacing=(1.0, 2.5))
    assert judged(old, lung=11, likelihood=-17.0, residual=0.9) == [
        "Pixel size, slice spacing and texture likelihood are within the range of the training slices. Field of "
        "view, slice thickness, convolution kernel, HU of air, lung area and PCA residual were not compared, "
        "because they are unknown for the training scans."
    ]
    assert "less likely" in judged(old, likelihood=-35)[1]


def test_a_long_list_of_kernels_is_shortened():
    many = REFERENCE.model_copy(update={"kernels": {f"K{i}": 9 - i for i in range(8)}})
    assert judged(many)[1] == (
        "The convolution kernel is B30f; the training scans have K0 (9 scans), K1 (8), K2 (7), K3 (6), K4 (5) and 3 "
        "others."
    )


def test_export_stores_the_ranges_of_the_training_scans(folder):
    reference = Predictor.load(folder).info.reference
    low, high = reference.lung_area
    assert low == high == pytest.approx(60000 * 0.5 / 100)  # of the generated slices
    assert reference.field == pytest.approx((512 * 0.5**0.5,) * 2)
    assert reference.grid == (512, 512)
    (low, high), quantiles = reference.scan_log_likelihood["conv1"], reference.log_likelihood["conv1"]
    assert quantiles[0] < low < high < quantiles[-1]
    quantiles = reference.residual["conv1"]  # of validation slices
    assert 0 < quantiles[0] <= quantiles[-1] < 1
    assert (reference.thickness, reference.air, reference.kernels) == (
        None,
        None,
        {},
    )  # these slices state no technique


def test_thick_sections_with_the_spacing_of_the_training_scans_are_reported(folder, tmp_path):
    predictor = Predictor.load(folder)
    reference = predictor.info.reference.model_copy(update={"thickness": (1.25, 1.25), "kernels": {"SOFT": 3}})
    predictor.info = predictor.info.model_copy(update={"reference": reference})
    ScanFiles.series(tmp_path / "in", ScanFiles.chest(), SliceThickness=10, ConvolutionKernel="<SHARP>")
    found = predictor.predict(tmp_path / "in").statements
    assert "Slices are 10.00 mm thick; the training slices are 1.25 mm thick." in found
    assert "The convolution kernel is ?SHARP?; the training scans have SOFT (3 scans)." in found


def test_the_residual_of_a_vector_in_the_span_of_the_components_is_zero():
    components = np.eye(6)[:2]
    encoding = FisherEncoding(None, None, FixedProjection(components, np.zeros(6)))
    vectors = np.array([[3, 4, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [3, 0, 4, 0, 0, 0], [0] * 6], np.float32)
    assert encoding.residuals(vectors) == pytest.approx([0, 1, 0.8, np.nan], nan_ok=True)
