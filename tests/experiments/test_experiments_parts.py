"""Components of the experiments: thinned maps, tables as CSV, the checklist."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import TINY

from ildfv.evaluation.documents import COMPARISON, Comparison, PairedTest
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.tables import Estimate, Table
from ildfv.evaluation.thresholds import Decisions
from ildfv.experiments import figures
from ildfv.experiments.checklist import ITEMS
from ildfv.experiments.checklist_answers import answers
from ildfv.experiments.context import Context
from ildfv.experiments.documents import EXPERIMENT, ExperimentDocument
from ildfv.experiments.results import documents
from ildfv.experiments.schema import to_csv, write_experiment
from ildfv.experiments.speed import device_name
from ildfv.experiments.thinned import Thinned
from ildfv.patterns import PATTERNS
from ildfv.pipeline.report import example_slices


class Whole:
    """Activations that are the images themselves."""

    d, n, device = 3, 16, torch.device("cpu")

    def __call__(self, images):
        return torch.as_tensor(images).float()


def test_thinned_maps_contain_the_same_share_of_the_descriptors_on_every_pass():
    images = np.random.default_rng(3).integers(0, 255, (4, 3, 4, 4), dtype=np.uint8)
    thinned = Thinned(Whole(), 0.25, seed=1)
    found = thinned(images)
    assert found.shape == (4, 3, 4, 1)
    assert thinned.n == 4
    torch.testing.assert_close(thinned(images[2:]), found[2:])  # the same in any batch
    torch.testing.assert_close(thinned(torch.from_numpy(images)), found)  # tensors are accepted, as on a GPU
    for image, kept in zip(images, found, strict=True):
        all_ = {tuple(c) for c in image.reshape(3, -1).T.tolist()}
        assert {tuple(c) for c in kept[..., 0].T.tolist()} <= all_


def test_a_measure_has_seven_columns_in_csv():
    cell = Estimate(value=0.5, interval=(0.4, 0.6), mean=0.51, sd=None, n=1, patients=9)
    table = Table("t", ["system", "F"], [["a, b", cell], ["c", None]])
    assert to_csv(table).splitlines() == [
        "system,F,F low,F high,F mean,F SD,F folds,F patients",
        '"a, b",0.5,0.4,0.6,0.51,,1,9',
        "c,,,,,,,",
    ]


def test_the_checklist_states_the_penalty_and_the_tests_of_the_preset(used):
    by_default = answers(Context(used, TINY, device="cpu"))
    changed = answers(Context(used, replace(TINY, ridge="0.5", seeds=3), device="cpu"))
    assert "the ridge penalty of the regression is chosen by mean AUC on validation slices" in by_default["training"]
    assert "the ridge penalty of the regression is 0.5;" in changed["training"]
    assert "paired permutation tests by patient" in by_default["measures"]
    assert "paired t tests over patients and 3 seeds" in changed["measures"]


def test_the_checklist_has_every_item_of_both_guidelines_once():
    """TRIPOD+AI 2024: 27 items, some with subitems. CLAIM 2024: 44 items."""
    parts = {
        3: "abc",
        5: "ab",
        6: "abc",
        8: "abc",
        9: "abc",
        12: "abcdefg",
        18: "abcdef",
        20: "abc",
        23: "ab",
        27: "abc",
    }
    tripod = {f"{n}{part}" for n in range(1, 28) for part in parts.get(n, [""])}
    claim = {str(n) for n in range(1, 45)}
    assert len(tripod) == 52
    told = [item[1:3] for item in ITEMS]
    for where, expected, twice in ((0, tripod, {"12c"}), (1, claim, {"43"})):
        named = [number for row in told for number in row[where].split(", ") if number]
        assert set(named) == expected
        assert {n for n in named if named.count(n) > 1} == twice


def experiment(**changes) -> ExperimentDocument:
    values = {
        "kind": EXPERIMENT,
        "version": 2,
        "name": "speed",
        "title": "t",
        "paper": None,
        "preset": "tiny",
        "data": "phantom",
        "slices": "s",
        "key": "k",
        "folds": [0],
        "n_folds": 2,
        "tables": [],
        "systems": {},
        "comparisons": [],
        "notes": [],
        "files": [],
        "versions": {},
    }
    return ExperimentDocument(**(values | changes))


def test_tables_and_pictures_of_an_earlier_run_are_removed(made, tmp_path):
    workspace = SimpleNamespace(results_dir=tmp_path)
    folder = tmp_path / "experiments"
    table = Table("t", ["a"], [[1]])
    test = PairedTest(difference=0.1, interval=(0.0, 0.2), p=0.3, patients=9)
    tested = Comparison(
        kind=COMPARISON,
        version=2,
        seeds=1,
        a="x",
        b="y",
        n_slices=1,
        n_patients=1,
        resamples=9,
        seed=0,
        tests={"f": test},
    )
    long, short = experiment(tables=[table] * 3, comparisons=[tested]), experiment(tables=[table])
    write_experiment(workspace, long, {"label-map-1.png": b"1", "label-map-2.png": b"2"})
    others = {"size-2.csv", "speed-notes.csv", "mine.png", "examples-1.png"}
    for name in others:
        (folder / name).write_text("kept")
    write_experiment(workspace, experiment(name="size"))
    others -= {"size-2.csv"}
    write_experiment(workspace, short, {"label-map-1.png": b"1"})
    found = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert found - {"lock"} == others | {"speed.json", "speed-1.csv", "label-map-1.png", "size.json"}


@pytest.mark.parametrize(("threads", "told"), [(1, "CPU, 1 thread"), (2, "CPU, 2 threads")])
def test_one_thread_is_singular(context, monkeypatch, threads, told):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert device_name(context) == told


def test_positions_below_zero_have_a_minus_sign(made, monkeypatch):
    context = Context(made, TINY, device="cpu")
    monkeypatch.setattr(context.slices, "positions", context.slices.positions - 1000)
    found = Predictions("a", 0, np.zeros((2, 4)), np.eye(2, 4), ["p", "q"], Decisions.at([0] * 4), PATTERNS)
    captions = [one.caption for one in example_slices(context.slices, np.array([0, 1]), [found], seed=0)]
    assert captions
    assert all(re.search(r", −\d+ mm$", caption) for caption in captions)


def test_figure_5_shows_the_pooled_curves_or_those_of_the_only_fold(context):
    found = documents(context, context.base)
    pooled, first = figures.curves([*found["folds"], found["pooled"]], ""), figures.curves(found["folds"][:1], "")
    assert list(pooled.variants) == list(first.variants) == ["CNN"]
    assert [panel.title for panel in first.variants["CNN"]] == [
        "(a) ROC, T = 4000",
        "(c) precision and recall, T = 4000",
    ]
    assert pooled == figures.curves([found["pooled"]], "")
    assert pooled != first
