"""docs/prediction.md states every field of the JSON documents of predictions, and no other fields."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ildfv.inference.follow_up import FollowUp
from ildfv.inference.schema import Head, PredictorInfo

PAGE = (Path(__file__).parents[2] / "docs" / "prediction.md").read_text()
NOT_FIELDS = {"training"}  # described with predictor.json


def fields(document: dict, *names: str) -> set[str]:
    """The names of all fields at all levels. names: keys that are not fields, such as patterns and heads."""
    found: set[str] = set()
    for key, value in document.items():
        found |= set() if key in names else {key}
        if isinstance(value, dict) and key not in NOT_FIELDS:
            found |= fields(value, *names)
    return found


def table(heading: str) -> set[str]:
    """The fields in the first column of the table with this heading."""
    rows = PAGE.split(f"| {heading} | content |\n|---|---|\n")[1].split("\n\n")[0]
    firsts = [row.split("|")[1] for row in rows.splitlines()]
    return {name.split(".")[-1] for first in firsts for name in re.findall(r"`([a-z_0-9.]+)`", first)}


@pytest.fixture
def full(prediction):
    """A prediction with all optional fields."""
    head = replace(
        prediction.head,
        pooling="max",
        scan_scores=prediction.head.scores[0],
        zones=[{"lower": 1.0, "middle": 0.0, "upper": 0.0}] * 4,
        shares=[{"left": 1.0, "right": 0.0, "ventral": 1.0, "dorsal": 0.0}] * 4,
    )
    identity = dict.fromkeys(("patient", "study", "series", "source"), "")
    return replace(prediction, heads={head.name: head}, identity=identity, lung_mask="0" * 64)


def test_every_field_of_a_prediction_is_documented(full):
    document = full.to_dict()
    stated = set(re.findall(r"`([a-z_0-9]+)`", PAGE))
    assert fields(document, *full.patterns, *full.heads) - stated == set()
    assert set(document) == table("field")
    (head,) = document["heads"].values()
    assert set(head) == table("results of a head") - {"set"}
    assert set(head["scan"]["emphysema"]) == table("field of `scan`")


def test_every_field_of_a_follow_up_is_documented(full):
    one = replace(full, heads={full.head.name: replace(full.head, mean_error=[])})
    areas = one.head.scores[None].repeat(2, axis=0)
    found = FollowUp(one, one, one.head.name, one.positions, areas, areas[:, :, 0], None, []).to_dict()
    assert set(found) == table("field of the JSON")
    stated = set(re.findall(r"`([a-z_0-9]+)`", PAGE))
    assert fields(found, *full.patterns) - stated == set()


def test_every_field_of_a_predictor_is_documented():
    stated = set(re.findall(r"`([a-z_0-9]+)`", PAGE))
    assert set(PredictorInfo.model_fields) - stated == set()
    assert set(Head.model_fields) - stated == set()
