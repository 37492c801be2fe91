"""Input of GaussianMixture: forms, dtypes and array libraries give the same mixture; invalid input is an error."""

import h5py
import numpy as np
import pytest
import torch
from estimators_support import blobs, slices
from test_estimators_mixture import begin

from ildfv.errors import InputError
from ildfv.estimators.em import MixtureSums
from ildfv.estimators.mixture import GaussianMixture

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def as_maps(x):
    return x.reshape(10, -1, x.shape[1])


FORMS = {
    "stream of rows": lambda x, _: [x[:100], x[100:101], x[101:]],
    "function": lambda x, _: lambda: (x[i : i + 250] for i in range(0, len(x), 250)),
    "maps": lambda x, _: as_maps(x),
    "channel-first maps": lambda x, _: np.ascontiguousarray(
        as_maps(x).transpose(0, 2, 1).reshape(10, x.shape[1], 10, 15)
    ),
    "torch": lambda x, _: torch.from_numpy(x),
    "stream of torch maps": lambda x, _: [torch.from_numpy(m)[None] for m in as_maps(x)],
    "nested lists": lambda x, _: x.tolist(),
    "on disk": lambda x, folder: on_disk(x, folder),
    "memmap": lambda x, folder: mapped(x, folder),
}


def on_disk(x, folder):
    file = h5py.File(folder / "x.h5", "w")
    return file.create_dataset("x", data=x, chunks=(64, x.shape[1]))


def mapped(x, folder):
    x.tofile(folder / "x.bin")
    return np.memmap(folder / "x.bin", x.dtype, "r", shape=x.shape)


@pytest.mark.parametrize("form", FORMS)
def test_all_input_forms_give_the_same_mixture(form, tmp_path):
    x = blobs()
    expected = GaussianMixture(5, max_iter=4, tol=0, **begin(x, 5)).fit(x)
    given_ = FORMS[form](x, tmp_path)
    found = GaussianMixture(5, max_iter=4, tol=0, **begin(x, 5)).fit(given_)
    np.testing.assert_allclose(found.means_, expected.means_, rtol=1e-9, atol=1e-9)
    assert found.score(given_) == pytest.approx(expected.score(x), abs=1e-9)
    assert np.isfinite(GaussianMixture(3, max_iter=2).fit(given_).lower_bound_)  # also without a given start


@pytest.mark.parametrize("kind", ["float16", "float32", "uint8", "int64"])
def test_other_dtypes_give_the_same_mixture(kind):
    x = np.clip(blobs() * 10 + 100, 0, 255).astype(kind)
    expected = GaussianMixture(3, max_iter=3, tol=0, **begin(x.astype(float), 3)).fit(x.astype(float))
    found = GaussianMixture(3, max_iter=3, tol=0, **begin(x.astype(float), 3)).fit(x)
    np.testing.assert_allclose(found.means_, expected.means_, rtol=1e-4)


def test_values_per_descriptor_are_returned_in_the_array_library_of_the_input():
    x = torch.from_numpy(blobs().astype(np.float32))
    mixture = GaussianMixture(3, max_iter=3).fit(x)
    assert isinstance(mixture.weights_, np.ndarray)
    for value in (mixture.score_samples(x), mixture.predict_proba(x), mixture.predict(x)):
        assert isinstance(value, torch.Tensor)
    np.testing.assert_allclose(mixture.predict_proba(x).sum(axis=1), 1, rtol=1e-12)
    assert float(mixture.score_samples(x).mean()) == pytest.approx(mixture.score(x), rel=1e-5)


def test_other_libraries_of_the_array_api_are_scored():
    xp = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    x = blobs()
    mixture = GaussianMixture(3, max_iter=3).fit(x)
    found = mixture.predict_proba(xp.asarray(x))
    assert type(found) is type(xp.asarray(x))
    np.testing.assert_allclose(np.asarray(found), mixture.predict_proba(x))


BAD = {
    "n_components must be at most 3, the number of descriptors, got 5": lambda: GaussianMixture(5).fit(blobs(3)),
    "n_components must be at least 1, got 0": lambda: GaussianMixture(0).fit(blobs()),
    "max_iter must be at least 0, got -1": lambda: GaussianMixture(2, max_iter=-1).fit(blobs()),
    "variance_floor must be above 0, got 0": lambda: GaussianMixture(2, variance_floor=0).fit(blobs()),
    'method must be "exact", "stepwise" or "auto", got \'1\'': lambda: GaussianMixture(2, method="1").fit(blobs()),
    'init must be "k-means", "k-means++" or "faiss", got \'x\'': lambda: GaussianMixture(2, init="x").fit(blobs()),
    "weights_init, means_init and variances_init must be given": lambda: GaussianMixture(2, means_init=1).fit(blobs()),
    "X must be restartable, got a generator": lambda: GaussianMixture(2).fit(x for x in [blobs()]),
    "batch 1 of X must have 4 features per descriptor, got 3": lambda: GaussianMixture(2).fit([blobs(), blobs(d=3)]),
    "batch 1 of X must contain at least one descriptor": lambda: GaussianMixture(2).fit([blobs(), blobs()[:0]]),
    "X must contain at least one batch, got none": lambda: GaussianMixture(2).fit(lambda: iter([])),
    "batch 0 of X must be a NumPy, torch or CuPy array, got str": lambda: GaussianMixture(2).fit(lambda: iter("ab")),
    "variances must be positive, got 0": lambda: GaussianMixture.from_parameters([1.0], [[0.0]], [[0.0]]),
    "weights must sum to 1, got 0.5": lambda: GaussianMixture.from_parameters([0.5], [[0.0]], [[1.0]]),
    "variances must have shape (1, 1), got (1,)": lambda: GaussianMixture.from_parameters([1.0], [[0.0]], [1.0]),
    "X has 3 features, but GaussianMixture is expecting 4": lambda: GaussianMixture(2).fit(blobs()).predict(blobs(d=3)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_an_error_with_rule_and_value(message):
    with pytest.raises(ValueError) as error:
        BAD[message]()
    assert message in str(error.value)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
@pytest.mark.parametrize("method", ["exact", "stepwise"])
def test_errors_name_the_batch_and_map_of_a_non_finite_value(value, word, method):
    maps = slices(n_slices=12, n=50)
    stream = [maps[:4], maps[4:8].copy(), maps[8:]]
    stream[1][2, 7, 3] = value
    at = begin(maps[0].astype(float), 3)
    with pytest.raises(InputError, match=f"batch 1 of X must be finite, got {word} in map 2"):
        GaussianMixture(3, method=method).fit(stream)
    with pytest.raises(InputError, match="batch 1 of X"):
        GaussianMixture(3, method="exact", **at).fit(stream)
    x = blobs(5000)
    x[4321, 1] = value
    with pytest.raises(InputError, match=f"rows 0:5000 of X must be finite, got {word} in row 4321"):
        GaussianMixture(3, method=method).fit(x)


def test_sums_and_the_m_step_stay_on_the_device_of_the_descriptors():
    """On a GPU the sums of each batch must not be copied to the host; tested with torch tensors on the CPU."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(3)
    x = random.normal(size=(2, 300, 5))
    at = GaussianMixture.from_parameters(np.full(4, 0.25), random.normal(size=(4, 5)), np.ones((4, 5)))
    there, here = (MixtureSums(at).update(kind(x[0])).update(kind(x[1])) for kind in (torch.from_numpy, np.asarray))
    assert isinstance(there.s1, torch.Tensor)
    merged = MixtureSums(at).update(torch.from_numpy(x[0])).merge(MixtureSums(at).update(x[1]))
    for inertia in (0.0, 50.0):
        expected = here.finish(floor=1e-3, inertia=inertia)
        for sums in (there, merged):
            found = sums.finish(floor=1e-3, inertia=inertia)
            for name in ("weights_", "means_", "variances_"):
                assert isinstance(getattr(found, name), np.ndarray)
                np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)
    assert there.mean_log_likelihood == pytest.approx(here.mean_log_likelihood, rel=1e-12)


def test_a_warm_start_refuses_other_dimensions_and_components():
    x = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    mixture = GaussianMixture(3, warm_start=True, random_state=0).fit(x)
    for data in (x[:, :4], [x[:, :4]]):
        with pytest.raises(ValueError, match="8"):
            mixture.fit(data)
    with pytest.raises(InputError, match="n_components must be 3 to continue with warm_start, got 5"):
        mixture.set_params(n_components=5).fit(x)
    assert mixture.n_features_in_ == 8
    assert mixture.predict(x).shape == (300,)
