"""Scans with other pixels than the training slices: areas in cm², masks of the lung, and what T and present mean."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ildfv.inference.head_answers import head_answer
from ildfv.inference.methods import methods_paragraph
from ildfv.inference.page import prediction_page
from ildfv.inference.predict import predict_volume
from ildfv.inference.predictor import Predictor
from ildfv.inference.prepared import prepared
from ildfv.inference.schema import Curve
from ildfv.inference.sentences import no_area, present_means
from ildfv.patterns import PATTERNS
from ildfv.scans.geometry import Geometry
from ildfv.scans.volume import Volume

FIELD = 360.0  # mm


@pytest.fixture(scope="module")
def loaded(folder):
    return Predictor.load(folder)


def chest(n: int, field: float = FIELD, m: int = 2) -> Volume:
    """A chest on a grid of n × n pixels that shows a square of this side, with a spot of 0.5 cm² of lung."""
    side = field / n
    y, x = (np.mgrid[:n, :n] + 0.5 - n / 2) * side  # mm
    hu = np.full((m, n, n), -1000.0)
    hu[:, (x / 150) ** 2 + (y / 120) ** 2 < 1] = 40
    for centre in (-70, 70):
        hu[:, ((x - centre) / 40) ** 2 + (y / 80) ** 2 < 1] = -850
    hu[:, np.hypot(x, y - 90) < np.sqrt(50 / np.pi)] = -850
    grid = Geometry(hu.shape, np.zeros(3), np.diag([10.0, side, side]))
    return Volume(hu.astype(np.int16), grid, "P", "S", Path("scan"))


def head_with_curves(loaded):
    curve = Curve(scores=[-2.0, 2.0], pixels=[0.0, 20000.0])
    return loaded.info.heads[0].model_copy(update={"target": "presence", "counts": [curve] * 4})


@pytest.mark.parametrize("n", [256, 384, 768, 1024])
def test_areas_and_lung_masks_do_not_depend_on_the_number_of_pixels(loaded, n):
    head, scores = head_with_curves(loaded), np.zeros((2, 4))
    found = {}
    for pixels in (512, n):
        volume = chest(pixels)
        slices = prepared(volume)
        answer = head_answer(head, PATTERNS, scores, volume, slices.lung, has_size=True)
        found[pixels] = answer, slices.lung, slices.batch.masks.of("lung", "rule")
    (a, lung, mask), (b, other_lung, other_mask) = found[512], found[n]
    np.testing.assert_allclose(b.area, a.area, rtol=1e-9)
    np.testing.assert_allclose(a.area, 10000 * (FIELD / 512) ** 2 / 100)
    np.testing.assert_allclose(b.pixels, a.pixels * (n / 512) ** 2)
    np.testing.assert_allclose(other_lung, lung, rtol=0.03)
    assert (mask != other_mask).mean() < 0.01
    spot = np.s_[:, 160:176, 104:120]  # 0.5 cm², less than the smallest region of lung
    assert not mask[spot].any()
    assert not other_mask[spot].any()


def test_another_field_of_view_is_reported(loaded):
    reference = loaded.info.reference.model_copy(update={"field": (FIELD, FIELD), "pixel_side": (0.1, 2.0)})
    other = Predictor(loaded.info.model_copy(update={"reference": reference}), loaded.tensors, checksum="")
    for volume, expected in ((chest(256), 0), (chest(512, 240.0), 1), (chest(768, 540.0), 1)):
        statements = predict_volume(other, volume, scan="scan-1", contributions=False).statements
        assert sum("field of view is" in one for one in statements) == expected


def test_page_and_json_state_what_present_means(prediction, loaded):
    means = prediction_page(prediction)
    low, high = (6000 * side**2 / 100 for side in loaded.info.reference.pixel_side)
    head = prediction.to_dict()["heads"]["fv-conv1"]
    assert head["extent"] == loaded.info.heads[0].threshold == prediction.head.extent
    assert head["extent_cm2"] == pytest.approx([head["extent"] * low / 6000, head["extent"] * high / 6000])
    assert present_means(prediction.head.extent, prediction.extent_cm2(prediction.head)) in means.replace("&#39;", "'")
    assert "T is not applied to the pixels of this scan" in means
    assert present_means("5%", None).startswith("A pattern counts as present if its score is like those of training sl")
    assert "T = 6000 pixels of the training scan's own grid, which are 24 to 38 cm²." in present_means(
        6000, (23.8, 38.4)
    )


def test_the_methods_paragraph_names_the_grid_that_t_refers_to(loaded):
    reference = loaded.info.reference
    for grid, words in (((512, 512), "on a 512 × 512 grid"), ((256, 768), "on a grid of 256 to 768 rows or columns")):
        heads = [head_with_curves(loaded)]
        info = loaded.info.model_copy(update={"reference": reference.model_copy(update={"grid": grid}), "heads": heads})
        assert words in methods_paragraph(info, loaded.checksum, None)


def test_aucs_are_those_of_the_patterns_whatever_their_order_in_the_document(loaded):
    head = head_with_curves(loaded)
    patterns = head.performance.patterns
    rows = {name: patterns[name].model_copy(update={"auc": 0.6 + i / 10}) for i, name in enumerate(PATTERNS)}
    backwards = dict(reversed(rows.items()))
    head = head.model_copy(update={"performance": head.performance.model_copy(update={"patterns": backwards})})
    volume = chest(256)
    answer = head_answer(head, PATTERNS, np.zeros((2, 4)), volume, np.full(2, 100.0), has_size=True)
    assert [answer.expected_auc(c)[0] for c in range(4)] == pytest.approx([0.6, 0.7, 0.8, 0.9])


def test_every_missing_area_has_a_reason(loaded, prediction):
    head, volume, lung = head_with_curves(loaded), chest(256), np.full(2, 100.0)

    def reasons(head, has_size=True):
        answer = head_answer(head, PATTERNS, np.zeros((2, 4)), volume, lung, has_size=has_size)
        assert [reason is None for reason in answer.no_area] == np.isfinite(answer.area).all(axis=0).tolist()
        return answer.no_area

    assert reasons(head) == [None] * 4
    partly = reasons(head.model_copy(update={"counts": [*head.counts[:3], None]}))
    assert partly[:3] == [None] * 3
    assert "do not state numbers of pixels" in partly[3]
    pooled = head.model_copy(update={"bags": "max", "counts": [None] * 4})
    assert set(reasons(pooled)) == {"the head was fitted to labels of scans, which do not state areas"}
    assert set(reasons(head, has_size=False)) == {"the pixel size of an image is unknown"}
    assert no_area(dict(zip(PATTERNS, partly, strict=True)))[0].startswith(
        "The area of emphysema is unknown: the labels of"
    )
    unknown = replace(prediction.head, no_area=partly, area=np.full((6, 4), np.nan))
    shown = replace(prediction, heads={"fv-conv1": unknown})
    assert shown.to_dict()["heads"]["fv-conv1"]["scan"]["emphysema"]["no_area"] == partly[3]
    assert f"The area of emphysema is unknown: {partly[3]}." in prediction_page(shown)
