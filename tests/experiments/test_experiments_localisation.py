"""Maps of contributions are exact, are made for held-out slices only, and are compared with controls."""

import numpy as np
import pytest

from ildfv.experiments import localisation
from ildfv.experiments.fitted import fisher_model
from ildfv.experiments.layers import fisher
from ildfv.experiments.localisation import NO_CAPTUM, TRAINING, run, slices_for_thresholds, with_pattern
from ildfv.experiments.results import predictions
from ildfv.inference.map_controls import CONTROLS


def test_a_map_sums_to_the_score_without_its_offset(context):
    system = fisher(context, "conv1")
    found = predictions(context, system)[0]
    model = fisher_model(context, system, 0)
    images = context.slices.images(context.split(0).test[:3])
    sums = model.maps(images).sum(axis=(2, 3))
    offset = model.regression.intercept_ - model.regression.coef_ @ model.pca.components_ @ model.pca.mean_
    np.testing.assert_allclose(sums + offset, found.scores[:3], atol=1e-4 * np.abs(found.scores).max())


def test_thresholds_come_from_fit_slices_with_a_pattern(context):
    split = context.split(0)
    chosen = slices_for_thresholds(context, split.fit, 0)
    assert 0 < len(chosen) <= TRAINING
    assert set(chosen) <= set(split.fit)
    assert (context.slices.counts[chosen] > 0).any(axis=1).all()
    assert set(with_pattern(context, split.test)) <= set(split.test)


def test_maps_left_out_without_captum_are_a_note_on_the_experiment(context, monkeypatch):
    monkeypatch.setattr(localisation, "find_spec", lambda name: None)
    monkeypatch.setattr(localisation, "maps_of", lambda *given: {"control: lung mask": CONTROLS["lung mask"]})
    found = run(context)
    assert found.notes == [NO_CAPTUM]
    assert not found.compared


@pytest.mark.slow  # evaluates maps of all held-out slices, in the lung and outside
def test_every_map_has_a_row_inside_the_lung_and_on_the_whole_slice(context):
    tables = run(context).tables
    assert [table.title.split(":")[0].split(" at ")[0] for table in tables] == ["Pixel AUC", "Pointing game", "Dice"]
    for table in tables:
        names = [row[0] for row in table.rows]
        assert [name for name in names if "contributions" in name] == [
            "conv1, Fisher vector, contributions, inside the lung",
            "conv1, Fisher vector, contributions, whole slice",
        ]
        assert sum(name.startswith("control") for name in names) == 6
    inside = dict((row[0], row[3:]) for row in tables[0].rows)["control: lung mask, inside the lung"]
    assert [cell.value for cell in inside] == [0.5] * 4
