"""The nearest rows are exactly those of a full search, whatever is excluded."""

import numpy as np
import pytest

from ildfv.errors import InputError
from ildfv.extras import is_installed
from ildfv.inference import similar
from ildfv.inference.similar import NearestRows

BACKENDS = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(not is_installed("faiss"), reason="FAISS is not installed")),
]


def full_search(rows, query, excluded=None):
    distances = np.linalg.norm(rows.astype(np.float64) - query, axis=1)
    if excluded is not None:
        distances[excluded] = np.inf
    order = np.lexsort((np.arange(len(rows)), distances))
    return order, distances[order]


@pytest.fixture(params=["isotropic", "decaying", "clustered", "far from 0"])
def rows(request):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 24)).astype(np.float32)
    if request.param == "decaying":
        x *= 0.7 ** np.arange(24, dtype=np.float32)
    if request.param == "clustered":  # many rows at almost the same distance, and some equal
        x = (rng.integers(0, 3, (3000, 1)) * 5 + 1e-4 * x).astype(np.float32)
        x[100:110] = x[100]
    return x + (1000 if request.param == "far from 0" else 0)


@pytest.mark.parametrize("use_faiss", BACKENDS)
def test_results_are_those_of_a_full_search(rows, use_faiss, monkeypatch):
    monkeypatch.setattr(similar, "CANDIDATES", 16)  # so few that further candidates are needed
    index, rng = NearestRows(rows, use_faiss=use_faiss), np.random.default_rng(1)
    for query in (rows[100], rows[7] + 0.01, rng.normal(size=24).astype(np.float32), np.zeros(24, np.float32)):
        expected, distances = full_search(rows, query)
        found = index.search(query, 12)
        np.testing.assert_array_equal(found[0], expected[:12])
        np.testing.assert_allclose(found[1], distances[:12], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("use_faiss", BACKENDS)
def test_excluded_rows_are_not_among_the_results(rows, use_faiss):
    excluded = np.zeros(len(rows), bool)
    excluded[full_search(rows, rows[5])[0][:50]] = True
    found, _ = NearestRows(rows, use_faiss=use_faiss).search(rows[5], 10, excluded=excluded)
    np.testing.assert_array_equal(found, full_search(rows, rows[5], excluded)[0][:10])


@pytest.mark.parametrize("use_faiss", BACKENDS)
def test_the_number_of_results_per_owner_is_limited(rows, use_faiss):
    owners = np.repeat(np.arange(30), 100)
    found, distances = NearestRows(rows, use_faiss=use_faiss).search(rows[5], 20, owners=owners, per_owner=1)
    assert len(set(owners[found].tolist())) == 20
    nearest = [min(np.linalg.norm(rows[owners == owner].astype(np.float64) - rows[5], axis=1)) for owner in range(30)]
    np.testing.assert_allclose(distances, sorted(nearest)[:20], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("use_faiss", BACKENDS)
def test_an_index_of_few_rows_gives_fewer_results(rows, use_faiss):
    index = NearestRows(rows[:4], use_faiss=use_faiss)
    assert len(index.search(rows[0], 10)[0]) == 4
    assert len(index.search(rows[0], 10, excluded=np.ones(4, bool))[0]) == 0


def test_wrong_input_is_refused(rows):
    index = NearestRows(rows, use_faiss=False)
    with pytest.raises(InputError, match=r"query must have shape \(24,\), got \(23,\)"):
        index.search(rows[0][:23], 10)
    with pytest.raises(InputError, match="count must be at least 1"):
        index.search(rows[0], 0)
    with pytest.raises(InputError, match="rows must be finite"):
        NearestRows(np.full((3, 2), np.nan), use_faiss=False)
