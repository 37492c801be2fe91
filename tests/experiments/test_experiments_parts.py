"""The parts that systems are made of: encoders against plain loops, thinned maps, lungs, tables as CSV."""

import re
import sys
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from tiny import TINY

from ildfv import FisherVector, GaussianMixture
from ildfv.errors import InputError, MissingPackageError
from ildfv.evaluation.documents import COMPARISON, Comparison, PairedTest
from ildfv.evaluation.results import Predictions
from ildfv.evaluation.tables import Estimate, Table
from ildfv.evaluation.thresholds import Decisions
from ildfv.experiments import lungs as lungs_module
from ildfv.experiments.checklist import ITEMS
from ildfv.experiments.context import Lab
from ildfv.experiments.documents import EXPERIMENT, ExperimentDocument
from ildfv.experiments.encode import Thinned
from ildfv.experiments.encoders import BagOfWords, Pyramid, Vlad
from ildfv.experiments.lungs import lungs
from ildfv.experiments.schema import to_csv, write_experiment
from ildfv.experiments.speed import device_name
from ildfv.patterns import PATTERNS
from ildfv.pipeline.report import example_slices

D, K = 5, 3


@pytest.fixture
def maps():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, D, 6, 4)).astype(np.float32))


@pytest.fixture
def codebook():
    random = np.random.default_rng(1)
    return random.normal(size=(K, D)), random.uniform(0.5, 2, D)


def nearest(x, centres, scale):
    return np.argmin((((x[:, None] - centres) / scale) ** 2).sum(2), axis=1)  # (n,)


def test_bag_of_words_counts_nearest_centres(maps, codebook):
    found = BagOfWords(*codebook).transform(maps).numpy()
    for one, row in zip(maps.numpy(), found, strict=True):
        words = nearest(one.reshape(D, -1).T, *codebook)
        np.testing.assert_allclose(row, np.sqrt(np.bincount(words, minlength=K) / 24), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_vlad_sums_differences_to_the_nearest_centre(maps, codebook):
    centres, scale = codebook
    found = Vlad(*codebook).transform(maps).numpy()
    for one, row in zip(maps.numpy(), found, strict=True):
        x = one.reshape(D, -1).T
        words = nearest(x, *codebook)
        sums = np.stack([((x[words == k] - centres[k]) / scale).sum(0) for k in range(K)]).ravel()
        rooted = np.sign(sums) * np.sqrt(np.abs(sums))
        np.testing.assert_allclose(row, rooted / np.linalg.norm(rooted), atol=1e-5)


def test_codebooks_do_not_care_for_the_order_of_descriptors(maps, codebook):
    mixed = maps.flatten(2)[:, :, torch.randperm(24)].reshape(maps.shape)
    for encoder in (BagOfWords(*codebook), Vlad(*codebook)):
        torch.testing.assert_close(encoder.transform(mixed), encoder.transform(maps))


def test_a_pyramid_is_the_fisher_vectors_of_its_cells(maps):
    random = np.random.default_rng(2)
    mixture = GaussianMixture.from_parameters(
        np.full(K, 1 / K), random.normal(size=(K, D)), random.uniform(0.5, 2, (K, D))
    )
    pyramid, vector = Pyramid(mixture, (1, 2), True), FisherVector(mixture)
    found = pyramid.transform(maps)
    assert found.shape == (2, pyramid.length) == (2, 5 * 2 * K * D)
    cells = [maps, maps[:, :, :3, :2], maps[:, :, :3, 2:], maps[:, :, 3:, :2], maps[:, :, 3:, 2:]]
    expected = np.concatenate([np.asarray(vector.transform(cell.contiguous())) for cell in cells], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


class Whole:
    """Activations that are the images themselves."""

    d, n, device = 3, 16, torch.device("cpu")

    def __call__(self, images):
        return torch.as_tensor(images).float()


def test_thinned_maps_hold_a_share_of_the_descriptors_the_same_on_every_pass():
    images = np.random.default_rng(3).integers(0, 255, (4, 3, 4, 4), dtype=np.uint8)
    thinned = Thinned(Whole(), 0.25, seed=1)
    found = thinned(images)
    assert found.shape == (4, 3, 4, 1)
    assert thinned.n == 4
    torch.testing.assert_close(thinned(images[2:]), found[2:])  # whatever the batch
    torch.testing.assert_close(thinned(torch.from_numpy(images)), found)  # as they come on a GPU
    for image, kept in zip(images, found, strict=True):
        all_ = {tuple(c) for c in image.reshape(3, -1).T.tolist()}
        assert {tuple(c) for c in kept[..., 0].T.tolist()} <= all_


def test_lungs_lie_inside_the_chest(lab):
    found = lungs(lab.slices, [0, 5])
    assert found.shape == (2, 224, 224)
    assert found[:, 100:124, 100:124].mean() > 0.9
    assert not found[:, :70].any()


def test_lungmask_is_asked_for_hu_and_its_labels_become_a_mask(lab, monkeypatch):
    seen = []

    def apply(hu):
        seen.append(hu)
        return np.where(hu < -320, 2, 0)

    lungs_module._lungmask.cache_clear()

    def inferer(*, volume_postprocessing, tqdm_disable):
        assert not volume_postprocessing  # the slices are of many volumes: a mask must not depend on its neighbours
        return SimpleNamespace(apply=apply)

    package = SimpleNamespace(LMInferer=inferer)
    monkeypatch.setitem(sys.modules, "lungmask", package)
    found = lungs(lab.slices, [0], "lungmask")
    lungs_module._lungmask.cache_clear()
    assert seen[0].shape == (1, 224, 224)
    assert -1400 <= seen[0].min() <= seen[0].max() <= 200
    assert found.dtype == bool
    assert found.any()


def test_lungmask_that_is_not_installed_says_how_to_install_it(lab, monkeypatch):
    monkeypatch.setitem(sys.modules, "lungmask", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        lungs(lab.slices, [0], "lungmask")
    with pytest.raises(InputError, match="rule or lungmask"):
        lungs(lab.slices, [0], "by hand")


def test_lungmask_without_its_weights_is_one_line(lab, monkeypatch):
    def inferer(**_):
        raise URLError("Name or service not known")

    lungs_module._lungmask.cache_clear()
    monkeypatch.setitem(sys.modules, "lungmask", SimpleNamespace(LMInferer=inferer))
    with pytest.raises(InputError, match=r"must fetch its weights when first used, got .*Name or service"):
        lungs(lab.slices, [0], "lungmask")


def test_a_measure_takes_six_columns_of_csv():
    cell = Estimate(value=0.5, interval=(0.4, 0.6), mean=0.51, sd=None, n=1)
    table = Table("t", ["system", "F"], [["a, b", cell], ["c", None]])
    assert to_csv(table).splitlines() == [
        "system,F,F low,F high,F mean,F SD,F folds",
        '"a, b",0.5,0.4,0.6,0.51,,1',
        "c,,,,,,",
    ]


def test_the_checklist_has_every_item_of_both_guidelines_once():
    """TRIPOD+AI 2024: 27 items, of which these have parts. CLAIM 2024: 44."""
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


def test_a_windpipe_whose_wall_blurs_into_it_is_no_lung():
    from ildfv.experiments.lungs import lungs_of

    hu = np.full((224, 224), 30.0)
    hu[60:160, 30:90] = hu[60:160, 130:190] = -860  # lungs
    hu[90:110, 105:117] = -1000  # windpipe, in a ring half of wall
    hu[[90, 109], 105:117] = hu[90:110, 105] = hu[90:110, 116] = -500
    grey = np.round((hu + 1400) * (255 / 1600)).astype(np.uint8)
    images = np.repeat(grey[None, None], 3, axis=1)
    found = lungs_of(images, np.array([0.5]))[0]
    assert found[60:160, 30:90].all()
    assert found[60:160, 130:190].all()
    assert not found[:, 100:120].any()


def experiment(**changes) -> ExperimentDocument:
    values = {
        "kind": EXPERIMENT,
        "version": 1,
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


def test_tables_and_pictures_of_an_earlier_run_go(made, tmp_path):
    workspace = SimpleNamespace(results_dir=tmp_path)
    folder = tmp_path / "experiments"
    table = Table("t", ["a"], [[1]])
    test = PairedTest(difference=0.1, interval=(0.0, 0.2), p=0.3)
    tested = Comparison(kind=COMPARISON, a="x", b="y", n_slices=1, n_patients=1, resamples=9, seed=0, tests={"f": test})
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
def test_one_thread_is_no_plural(lab, monkeypatch, threads, told):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert device_name(lab) == told


def test_positions_below_zero_have_a_minus_sign(made, monkeypatch):
    lab = Lab(made, TINY, device="cpu")
    monkeypatch.setattr(lab.slices, "positions", lab.slices.positions - 1000)
    found = Predictions("a", 0, np.zeros((2, 4)), np.eye(2, 4), ["p", "q"], Decisions.at([0] * 4), PATTERNS)
    captions = [one.caption for one in example_slices(lab.slices, np.array([0, 1]), [found], seed=0)]
    assert captions
    assert all(re.search(r", −\d+ mm$", caption) for caption in captions)
