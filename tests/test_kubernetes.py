"""The Kubernetes manifest in docs/scaling.md follows the schema of Kubeflow Trainer."""

import re
from pathlib import Path

import pytest
import yaml

PAGE = Path(__file__).parents[1] / "docs/scaling.md"


@pytest.fixture
def manifest() -> dict:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (found,) = [block for block in map(yaml.safe_load, blocks) if block["kind"] == "TrainJob"]
    return found


def understood(manifest: dict) -> dict:
    """The manifest as Kubeflow reads it: the models drop fields that the schema does not have."""
    models = pytest.importorskip("kubeflow_trainer_api.models")  # pydantic models, made from Kubeflow's OpenAPI schema
    return models.TrainerV1alpha1TrainJob.from_dict(manifest).to_dict()


def test_manifest_has_only_fields_and_types_of_the_schema(manifest):
    assert understood(manifest) == manifest


@pytest.mark.parametrize("field", ["numNode", "nodes"])
def test_a_misspelt_field_is_noticed(manifest, field):
    manifest["spec"]["trainer"][field] = 4
    assert understood(manifest) != manifest


def test_a_value_of_another_type_is_refused(manifest):
    manifest["spec"]["trainer"]["numNodes"] = "four"
    with pytest.raises(ValueError, match="numNodes"):
        understood(manifest)
