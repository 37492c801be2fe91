"""Every public estimator raises scikit-learn's NotFittedError from every method that needs a fit."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import ildfv
from ildfv import texture

MAPS = np.random.default_rng(0).random((3, 20, 4))
ROWS = MAPS[0]
ENCODERS = {"transform": (MAPS,), "to_tensors": (), "info": ()}
NAMED = {**ENCODERS, "get_feature_names_out": ()}
METHODS = {
    "GaussianMixture": {
        **{name: (ROWS,) for name in ("score_samples", "predict_proba", "predict", "score", "bic", "aic")},
        "sample": (),
        "to_tensors": (),
        "info": (),
    },
    "PCA": {"transform": (ROWS,), "inverse_transform": (ROWS,), "to_tensors": (), "info": ()},
    "MultivariateRegression": {"predict": (ROWS,), "score": (ROWS, ROWS[:, 0]), "to_tensors": (), "info": ()},
    "FisherVector": {**NAMED, "fitted_mixture": ()},
    "VLAD": NAMED,
    "BagOfWords": NAMED,
    "SpatialPyramid": {"transform": (MAPS,)},
    "LayerUnion": {"transform": ({"layer": MAPS},)},
    "Pooling": {},  # learns nothing
    "TextureEncoder": {"transform": (list(MAPS),), "get_feature_names_out": (), "columns": ("patches",), "info": ()},
    "TextureClassifier": {
        **{name: (list(MAPS),) for name in ("predict", "scores", "decision_function")},
        "score": (list(MAPS), [0, 1, 0]),
        "save": ("model",),
    },
}


def estimators():
    modules = {name: ildfv for name in ildfv.__all__} | {name: texture for name in texture.__all__}
    found = {name: getattr(module, name) for name, module in modules.items()}
    return {name: kind for name, kind in found.items() if hasattr(kind, "get_params")}


def test_every_public_estimator_is_tested():
    assert set(estimators()) == set(METHODS)


@pytest.mark.parametrize(("name", "method"), [(name, method) for name, some in METHODS.items() for method in some])
def test_methods_of_an_unfitted_estimator_raise_not_fitted_error(name, method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFittedError, match="not fitted yet: call fit first"):
        getattr(estimators()[name](), method)(*METHODS[name][method])
    assert not list(tmp_path.iterdir())


def test_a_layer_needs_a_fitted_mixture():
    pytest.importorskip("torch")
    from ildfv.nn import FisherVector2d

    for use in (FisherVector2d.from_mixture, FisherVector2d(4, 32).set_mixture):
        with pytest.raises(NotFittedError, match="mixture must be fitted, got an unfitted GaussianMixture: call"):
            use(ildfv.GaussianMixture())
    with pytest.raises(ildfv.errors.InputError, match="has no mixture yet: call initialise"):
        FisherVector2d(4, 32).mixture()
