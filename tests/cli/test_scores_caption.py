"""The caption of the scores states on which scores the decision thresholds were fitted."""

from types import SimpleNamespace

import pytest

from ildfv.cli.scores import threshold_source


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({"train": {}}, "validation patients"),
        ({"regress": {"target": "counts"}}, "validation patients"),
        ({"regress": {"head": "ridge"}}, "cross-validated scores of training patients"),
    ],
)
def test_only_networks_and_linear_heads_use_validation_patients(settings, source):
    assert threshold_source(SimpleNamespace(settings=settings)) == source
