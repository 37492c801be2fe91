"""An encoding: mixture and PCA fitted on training slices, Fisher vectors and projections of all slices."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import PATIENTS, QUICK, SLICES, scan

from ildfv import PCA, FisherVector, GaussianMixture
from ildfv.datasets.slice_store import write_scan
from ildfv.errors import InputError
from ildfv.pipeline import mixture as mixture_step
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.encodings import Encoding, newest
from ildfv.pipeline.regress import regress_encoding
from ildfv.pipeline.split import load_folds, split_slices, write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import Silent
from ildfv.store.checksummed import read_checksummed, write_checksummed
from ildfv.store.models import TENSORS, load_model, save_model
from ildfv.store.parts import writing_parts
from ildfv.train.activations import Activations
from ildfv.train.networks import load

SETTINGS = EncodeSettings(layer="conv1", components=4, dimensions=10, passes=3, batch_size=4, tolerance=QUICK)


def test_projections_equal_a_computation_in_memory(root):
    info = encode_slices(root, SETTINGS)
    workspace = Workspace.open(root)
    slices = workspace.slices()
    maps = Activations(load(workspace.model_dir("small", 0), "cpu"), "conv1")(slices.images(range(len(slices))))
    folder = workspace.encoding_dir("conv1", 0)
    mixture = GaussianMixture.from_tensors(*load_model(folder / "mixture"))
    fisher = np.asarray(FisherVector(mixture).transform(maps))
    fit = split_slices(slices, load_folds(workspace), 0).fit
    expected = PCA(10).fit(fisher[fit].astype(np.float64)).transform(fisher.astype(np.float64))
    found = Encoding(folder).projections()
    assert found.shape == (PATIENTS * SLICES, 10)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert info["fisher_length"] == 2 * 4 * 8
    assert info["descriptors"] == PATIENTS * SLICES * 28 * 28


@pytest.mark.slow
def test_long_fisher_vectors_are_projected_without_being_stored(root, monkeypatch):
    monkeypatch.setattr("ildfv.pipeline.fisher.FISHER_LIMIT", 10)
    encode_slices(root, SETTINGS)
    folder = Workspace.open(root).encoding_dir("conv1", 0)
    assert not list((folder / "fisher").glob("*.h5"))
    unstored = Encoding(folder).projections()
    monkeypatch.undo()
    (folder / "encoding.json").unlink()
    for part in (folder / "projection").iterdir():
        part.unlink()
    encode_slices(root, SETTINGS)
    np.testing.assert_allclose(Encoding(folder).projections(), unstored, atol=1e-5)


@pytest.mark.slow
def test_test_slices_change_nothing_that_is_fitted(root, tmp_path):
    from small import make_workspace

    from ildfv.datasets.slice_store import write_scan
    from ildfv.store.parts import writing_parts

    other = make_workspace(tmp_path / "other")
    slices, folds = other.slices(), load_folds(other)
    with writing_parts(other.slices_dir, other.slices_key) as parts:
        for name in np.unique(slices.series[folds.test(0, slices.patients)]):
            changed = _inverted(int(name, 16) - 100)
            parts.drop(name)
            parts.add(write_scan(other.slices_dir, changed))
    for place in (root, other.root):
        encode_slices(place, SETTINGS)
    for model in ("mixture", "pca"):
        one, two = (load_model(Workspace.open(p).encoding_dir("conv1", 0) / model)[0] for p in (root, other.root))
        assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(
        Encoding(root / "encodings/conv1/fold-0").projections(),
        Encoding(other.root / "encodings/conv1/fold-0").projections(),
    )


@pytest.mark.slow
def test_validation_slices_change_nothing_that_is_fitted(root, tmp_path):
    from small import make_workspace

    from ildfv.datasets.slice_store import write_scan
    from ildfv.store.parts import writing_parts

    other = make_workspace(tmp_path / "other")
    slices, folds = other.slices(), load_folds(other)
    with writing_parts(other.slices_dir, other.slices_key) as parts:
        for name in np.unique(slices.series[folds.inner(0, slices.patients)[1]]):
            parts.drop(name)
            parts.add(write_scan(other.slices_dir, _inverted(int(name, 16) - 100)))
    for place in (root, other.root):
        encode_slices(place, SETTINGS)
    fitted = {p: Workspace.open(p).encoding_dir("conv1", 0) for p in (root, other.root)}
    for place in fitted:  # the penalty is given, because "auto" depends on validation slices
        regress_encoding(place, ridge=1.0)
    for model in ("mixture", "pca", "regression-penalty-1"):
        one, two = (load_model(folder / model)[0] for folder in fitted.values())
        for name, value in one.items():
            np.testing.assert_array_equal(value, two[name], err_msg=f"{model}: {name}")
    one, two = (Encoding(folder).projections() for folder in fitted.values())
    assert not np.array_equal(one, two)


def test_an_encoding_that_was_also_fitted_on_validation_slices_is_refused(root):
    encode_slices(root, SETTINGS)
    path = Workspace.open(root).encoding_dir("conv1", 0) / "encoding.json"
    info = read_checksummed(path)
    del info["inputs"]["fit"]  # as earlier versions wrote it
    write_checksummed(path, info)
    with pytest.raises(InputError, match="was made from fit slices other than the current ones: run `ildfv encode"):
        regress_encoding(root)


class Notes(Silent):
    """Progress that collects its notes."""

    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def test_a_falling_likelihood_is_noted_and_a_limited_number_of_passes_is_not():
    def blobs(number):
        return np.random.default_rng(number).normal(3.0 * number, 1.0, (400, 2)).astype(np.float32)

    sorted_by_kind = [blobs(number) for number in range(6)]
    mixture, notes = GaussianMixture(4, max_iter=3, tol=0, method="stepwise", random_state=0), Notes()
    mixture_step._fitted(mixture, lambda: iter(sorted_by_kind), "conv1", notes)
    (fell,) = [text for text in notes.texts if "decreased during stepwise EM" in text]
    assert fell.startswith("conv1: ")
    assert fell.endswith("`ildfv encode --method exact --fresh` and the layer, region and fold of this encoding")
    limited, quiet = GaussianMixture(4, max_iter=1, tol=0, method="exact", random_state=0), Notes()
    mixture_step._fitted(limited, lambda: iter(sorted_by_kind), "conv1", quiet)
    assert quiet.texts == []


def _inverted(number):
    from small import scan

    made = scan(number)
    return replace(made, images=255 - made.images)


@pytest.mark.slow
def test_interrupted_stepwise_em_resumes_to_the_same_bytes(root, tmp_path, monkeypatch):
    settings = replace(SETTINGS, method="stepwise", passes=3)
    other = Path(shutil.copytree(root, tmp_path / "other"))
    encode_slices(root, settings)
    _, info = load_model(root / "encodings/conv1/fold-0/mixture")
    assert info["learned"]["n_steps_"] > 3

    for _ in range(4):  # interrupted after the start and after each pass is saved
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr("ildfv.pipeline.mixture.save_model", stopping_after(save_model))
            encode_slices(other, settings)
    encode_slices(other, settings)
    for model in ("mixture", "pca"):
        one, two = (place / "encodings/conv1/fold-0" / model / TENSORS for place in (root, other))
        assert one.read_bytes() == two.read_bytes()


def stopping_after(save):
    def stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    return stop


def test_other_settings_are_refused_unless_fresh(root):
    encode_slices(root, SETTINGS)
    changed = replace(SETTINGS, components=5)
    with pytest.raises(
        InputError,
        match=r"components = 4, now 5: restore the old settings to resume, or repeat the command with --fresh",
    ):
        encode_slices(root, changed)
    assert Encoding(root / "encodings/conv1/fold-0").info["components"] == 4
    assert encode_slices(root, changed, fresh=True)["components"] == 5


def test_the_newest_encoding_is_found(root):
    with pytest.raises(InputError, match="ildfv encode --layer conv1"):
        newest(Workspace.open(root))
    encode_slices(root, SETTINGS)
    assert newest(Workspace.open(root)).layer == "conv1"


def test_an_unknown_layer_names_the_known_ones(root):
    with pytest.raises(InputError, match='must be one of conv1, fc6, got "conv9"'):
        encode_slices(root, EncodeSettings(layer="conv9"))


def test_more_components_than_descriptors_are_refused_before_the_folder_is_created(root):
    with pytest.raises(
        InputError, match=r"components must be at most \d+, the number of descriptors of the fit slices, got 1000"
    ):
        encode_slices(root, replace(SETTINGS, layer="fc6", components=1000))
    assert not Workspace.open(root).encoding_dir("fc6", 0).exists()


def test_without_a_network_the_next_step_is_named(root):
    with pytest.raises(InputError, match="ildfv train --fold 1"):
        encode_slices(root, SETTINGS, fold=1)


@pytest.mark.parametrize(("name", "value"), [("components", 0), ("passes", 0), ("method", "fast")])
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(InputError, match=name):
        EncodeSettings(**{name: value})


class Tasks:
    """A progress that records (label, total, items done at the end) of each task."""

    def __init__(self):
        self.ended = []

    @contextlib.contextmanager
    def task(self, label, total=None, done=0):
        count = [done]

        def advance(n=1):
            count[0] += n

        yield advance
        self.ended.append((label, total, count[0]))

    def note(self, text):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("method", ["stepwise", "exact"])
def test_every_pass_counts_its_own_slices(root, method):
    tasks = Tasks()
    encode_slices(root, replace(SETTINGS, method=method, tolerance=0.0, passes=3), progress=tasks)
    passes = [task for task in tasks.ended if "EM pass" in task[0]]
    assert [label for label, *_ in passes] == [f"conv1: EM pass {number}" for number in (1, 2, 3)]
    assert all(done == total for _, total, done in tasks.ended), tasks.ended


@pytest.fixture
def without_lung(tmp_path):
    """A workspace of slices without lung, on which no layer can be fitted in the lung."""
    workspace = Workspace.open_or_create(tmp_path / "study", version="test", salt="0123456789abcdef", folds=4)
    with writing_parts(workspace.slices_dir, workspace.slices_key) as parts:
        for number in range(PATIENTS):
            one = scan(number)
            parts.add(write_scan(workspace.slices_dir, replace(one, images=np.full_like(one.images, 230))))
    write_folds(workspace)
    return workspace


@pytest.mark.parametrize("layer", ["filters", "patches"])
def test_nothing_is_left_of_an_encoding_that_is_refused_late(without_lung, layer):
    with pytest.raises(InputError, match=r"got none in .* sampled slices: .* with other lung masks, or use region"):
        encode_slices(without_lung.root, replace(SETTINGS, layer=layer, region="lung"))
    assert not without_lung.encodings_dir.exists()


def test_an_encoding_that_is_refused_late_after_it_was_started_can_be_resumed(root, monkeypatch):
    def refuse(*arguments):
        raise InputError("refused")

    monkeypatch.setattr("ildfv.pipeline.projection.fit", refuse)
    with pytest.raises(InputError, match="refused"):
        encode_slices(root, SETTINGS)
    folder = Workspace.open(root).encoding_dir("conv1", 0)
    fitted = (folder / "mixture" / TENSORS).read_bytes()
    monkeypatch.undo()
    encode_slices(root, SETTINGS)
    assert (folder / "mixture" / TENSORS).read_bytes() == fitted
