"""Unknown labels through the pipeline: they add nothing to losses, regressions and scores."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small import SLICES
from test_baselines import make

from ildfv.datasets.slice_labels import SliceLabels
from ildfv.errors import InputError
from ildfv.patterns import ABSENT, PATTERNS, PRESENT, UNLABELLED, presence
from ildfv.pipeline.baselines import score_baselines
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.prepare_labels import SLICE_LABELS
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.report import make_report
from ildfv.pipeline.split import load_folds, split_slices, write_folds
from ildfv.store.checksummed import write_checksummed
from ildfv.train.objective import Objective
from ildfv.train.settings import TrainSettings

EMPHYSEMA = PATTERNS.index("emphysema")


@pytest.mark.parametrize(("loss", "target"), [("logistic", "presence"), ("l2", "step"), ("smooth-l1", "step")])
def test_unknown_entries_have_no_loss_and_no_gradient(loss, target):
    counts = np.array([[9000, -1, 0, -1], [0, 9000, -1, 9000]])
    f = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    objective = Objective(TrainSettings(loss=loss, target=target), counts, np.arange(2), torch.device("cpu"))
    found = objective(f, np.arange(2))
    found.sum().backward()
    assert (f.grad.numpy() == 0).tolist() == (counts < 0).tolist()
    alone = Objective(TrainSettings(loss=loss, target=target), np.maximum(counts, 0), np.arange(2), torch.device("cpu"))
    assert (found < alone(f, np.arange(2))).all()  # the other loss counts unknown patterns as absent


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """The small study labelled for emphysema only, by presence, on every slice but the first of each scan."""
    workspace = make(tmp_path_factory.mktemp("sparse") / "study")
    slices = workspace.stored_slices()
    labels = SliceLabels()
    for part, name in enumerate(slices.names):
        rows = {}
        for z in range(1, SLICES):
            shown = slices.counts[slices.starts[part] + z, EMPHYSEMA] >= 6000
            rows[z] = [UNLABELLED] * 3 + [PRESENT if shown else ABSENT]
        rows[0] = [UNLABELLED] * 4
        labels.counts[name] = rows
    write_checksummed(workspace.slice_labels_file, {"kind": SLICE_LABELS, "version": 1, "labels": labels.to_dict()})
    write_folds(workspace, fresh=True)
    return workspace


def test_unlabelled_slices_are_in_no_part_of_the_split(sparse):
    slices = sparse.slices()
    split = split_slices(slices, load_folds(sparse), 0)
    for part in (split.fit, split.validation, split.test):
        assert (slices.counts[part, EMPHYSEMA] >= 0).all()
    assert len(split.train) + len(split.test) == len(slices) * (SLICES - 1) // SLICES


@pytest.mark.slow
def test_baselines_and_heads_are_scored_on_the_known_pattern_only(sparse):
    results = {r.system: r for r in score_baselines(sparse.root, fold=0)}
    row = results["baseline-p15"].per_pattern
    assert row["emphysema"].auc > 0.8
    assert row["reticular"].auc is None
    assert row["reticular"].prevalence is None
    encode_slices(sparse.root, EncodeSettings(layer="filters", components=2, dimensions=4, passes=1))
    encode_slices(sparse.root, EncodeSettings(layer="patches", components=2, dimensions=4, passes=1))
    joined = regress_encoding(sparse.root, layer="filters+patches", head="ridge", target="step")
    assert joined.system == "fv-filters+patches-ridge"
    assert joined.per_pattern["emphysema"].auc is not None
    with pytest.raises(InputError, match="layer must be a single layer with head linear"):
        regress_encoding(sparse.root, layer="filters+patches", target="step")
    for head in ("ridge", "logistic"):
        found = regress_encoding(sparse.root, layer="filters", head=head)
        assert found.per_pattern["emphysema"].auc is not None
    page = Path(make_report(sparse.root)["report"]).read_text()
    assert "fv-filters-ridge" in page
    with pytest.raises(
        InputError, match="needs labels of every pattern on the fit slices, got none of ground glass, reticular"
    ):
        regress_encoding(sparse.root, layer="filters")  # with target step, because there are no pixel counts
    with pytest.raises(InputError, match="labels of presence on some slices: use target step"):
        regress_encoding(sparse.root, layer="filters", head="ridge", target="counts")
    with pytest.raises(InputError, match="labels of presence on some slices: use target step"):
        regress_encoding(sparse.root, layer="filters", head="ridge", target="fraction")


def test_stored_slices_have_the_presence_of_the_labels(sparse):
    known = sparse.slices().counts[:, EMPHYSEMA] >= 0
    stored = sparse.stored_slices().counts[known, EMPHYSEMA]
    assert (presence(stored) == presence(sparse.slices().counts[known, EMPHYSEMA])).all()
