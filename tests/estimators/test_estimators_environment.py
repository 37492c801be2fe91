"""Estimators in programs that forked, changed np.seterr or set OMP_NUM_THREADS."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ildfv import PCA, FisherVector, GaussianMixture, MultivariateRegression
from ildfv.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::UserWarning")
RANDOM = np.random.default_rng(0)
X, Y, MAPS = RANDOM.normal(size=(200, 5)), RANDOM.normal(size=(200, 2)), RANDOM.normal(size=(4, 50, 5))
Y[::5, 0] = np.nan
FAR = GaussianMixture.from_parameters([0.5, 0.5, 0.0], RANDOM.normal(size=(3, 5)), np.full((3, 5), 1e-6))

USES = {
    "mixture": lambda scale: GaussianMixture(3, max_iter=5).fit(X * scale),
    "stepwise mixture": lambda scale: GaussianMixture(3, max_iter=3, method="stepwise").fit(X * scale),
    "posteriors": lambda scale: FAR.predict_proba(X * min(scale, 1e20)),
    "log likelihoods": lambda scale: FAR.score_samples(X * min(scale, 1e20)),
    "Fisher vectors": lambda scale: FisherVector(n_components=2).fit(MAPS * scale).transform(MAPS * scale),
    "PCA": lambda scale: PCA(2, whiten=True).fit(X * scale).transform(X * scale),
    "regression": lambda scale: MultivariateRegression().fit(X * max(scale, 1e-140), Y).predict(X),
    "ridge": lambda scale: MultivariateRegression(ridge=1.0).fit(X * scale, np.nan_to_num(Y)).score(X * scale, Y),
}


@pytest.mark.parametrize("scale", [1.0, 1e-160])
@pytest.mark.parametrize("use", USES)
def test_raising_floating_point_errors_changes_nothing(use, scale):
    with np.errstate(all="raise"):
        USES[use](scale)


def test_features_too_small_to_be_squared_are_refused():
    with pytest.raises(InputError, match="underflow"):
        MultivariateRegression().fit(X * 1e-160, Y)


FORK = """
import multiprocessing, warnings
import numpy as np
from ildfv import GaussianMixture
warnings.simplefilter("ignore")
x = np.random.default_rng(0).normal(size=(20000, 16)).astype(np.float32)
def fit():
    return GaussianMixture(4, max_iter=1, init="faiss", n_init=1).fit(x)
fit()
child = multiprocessing.get_context("fork").Process(target=fit)
child.start()
child.join(60)
hangs = child.is_alive()
child.kill()
raise SystemExit(int(hangs) or child.exitcode)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_faiss_starts_in_a_forked_child():
    pytest.importorskip("faiss")
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    assert subprocess.run([sys.executable, "-c", FORK], env=environment, timeout=150).returncode == 0


@pytest.mark.parametrize("value", ["", "0", "-1", "1.0", "ALL", "4,3,2", " 2 ", "²", "9" * 20, "9" * 5000])
def test_any_value_of_omp_num_threads_gives_a_number_of_threads(value, monkeypatch):
    from ildfv.kernels import cpu

    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert 1 <= cpu.num_threads() <= 1024
