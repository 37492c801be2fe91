"""Helpers of all estimators: sums over batches and ranks, input validation, conversion to and from tensors."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from ildfv.arrays import check_real, dtype_name, is_array, like, to_numpy
from ildfv.errors import InputError, check
from ildfv.estimators.batches import Batches, is_stream, on_disk
from ildfv.estimators.layouts import LAYOUTS
from ildfv.weighted import Weighted, split, with_unit_mean

# Decorator of public methods, because posteriors of distant components underflow to 0 on purpose, and
# np.seterr(all="raise") in the caller's program must not turn this into an error.
default_errstate = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")

State = dict[str, np.ndarray]
RandomState = int | np.random.RandomState | None
Reduce = Callable[[State], State]  # sums a state over ranks, like ildfv.distributed.sum_arrays


class Array(Protocol):
    """Protocol for type checkers: the common interface of NumPy, torch, CuPy and other array API arrays."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def ndim(self) -> int: ...


AnyArray = TypeVar("AnyArray", bound=Array)  # results have the type of the input


class Sums:
    """Named float64 sums over rows. Merging the sums of two parts of the data gives the sums of all data.

    An all-reduce needs equal names and shapes on all ranks, so these depend only on the constructor's arguments.
    """

    def __init__(self, **shapes: tuple[int, ...]) -> None:
        self._sums = {name: np.zeros(shape) for name, shape in shapes.items()}

    def __getattr__(self, name: str) -> Any:
        if name != "_sums" and name in self._sums:
            return self._sums[name]
        raise AttributeError(f"{type(self).__name__} has no sum {name!r}")

    def merge(self, other: Sums) -> Self:
        """Add the sums of other data, computed with the same parameters."""
        self._check_same_shapes(other._sums)
        for name, value in other._sums.items():
            self._add(name, value)
        return self

    def state(self) -> State:
        """The sums by name, float64. Adding the states of two data sets key by key gives the state of their union."""
        return {name: np.array(to_numpy(value), dtype=np.float64) for name, value in self._sums.items()}

    def load(self, state: State) -> Self:
        """Replace the sums by those of `state`, a result of the method `state`."""
        self._check_same_shapes(state)
        self._sums = {name: np.array(state[name], dtype=np.float64) for name in self._sums}
        return self

    @classmethod
    def from_state(cls, state: State, *args: Any, **options: Any) -> Self:
        """New sums with the values of `state`. args, options: arguments of the constructor."""
        return cls(*args, **options).load(state)

    def reduced(self, reduce: Reduce | None) -> Self:
        """The sums of all ranks; unchanged if `reduce` is None."""
        return self if reduce is None else self.load(reduce(self.state()))

    def _add(self, name: str, value: Any, rows: Any = ...) -> None:
        if is_array(value) and type(value) is not type(self._sums[name]):
            if isinstance(value, (np.ndarray, np.generic)):
                value = like(value, self._sums[name])
            else:
                self._sums[name] = like(self._sums[name], value)  # the sums stay on the device of the data
        self._sums[name][rows] += value  # in place: sums may be large

    def _check_same_shapes(self, state: State) -> None:
        mine = {name: tuple(value.shape) for name, value in self._sums.items()}
        theirs = {name: tuple(np.shape(value)) for name, value in state.items()}
        check(mine == theirs, f"sums must have shapes {mine} to be merged, got {theirs}")


class Persistent:
    """Mixin: conversion of a fitted estimator to tensors and a JSON description, and back.

    `_tensors` and `_numbers` name the learned arrays and the learned scalars; all names end in "_". The arguments of
    the constructor are attributes, as in scikit-learn.

    Subclasses whose names end in "Model" contain the fit of an estimator and do not import scikit-learn, because this
    import takes a second. `_estimator` is the name of this estimator, with which they are saved. They accept NumPy
    arrays and streams.
    """

    _tensors: tuple[str, ...] = ()
    _numbers: tuple[str, ...] = ()
    _estimator: str
    _convergence_warning: type[Warning] = UserWarning  # estimators warn with scikit-learn's ConvergenceWarning

    def to_tensors(self) -> dict[str, np.ndarray]:
        """The learned arrays by name without the trailing underscore."""
        self._check_fitted()
        return {name[:-1]: np.asarray(getattr(self, name)) for name in self._tensors if hasattr(self, name)}

    def info(self) -> dict[str, Any]:
        """Settings and learned numbers as JSON values, without initial arrays and callables."""
        self._check_fitted()
        params = {name: getattr(self, name) for name in sorted(signature(type(self)).parameters)}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in params.items()}
        settings = {name: value for name, value in plain.items() if isinstance(value, (str, bool, int, float))}
        numbers = {name: getattr(self, name) for name in self._numbers if hasattr(self, name)}
        numbers = {name: value if np.isfinite(value) else str(value) for name, value in numbers.items()}
        return {"estimator": self._saved_name(), "settings": settings, "learned": numbers}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], info: dict[str, Any]) -> Self:
        """The fitted estimator, restored from the results of `to_tensors` and `info`."""
        name = cls._saved_name()
        check(info.get("estimator") == name, f"model must be a {name}, got {info.get('estimator')}")
        estimator = cls(**info["settings"])
        for name in cls._tensors:
            if name[:-1] in tensors:
                setattr(estimator, name, np.asarray(tensors[name[:-1]]))
        for name, value in info["learned"].items():
            setattr(estimator, name, float(value) if isinstance(value, str) else value)
        return estimator

    @classmethod
    def _saved_name(cls) -> str:
        return str(cls.__dict__.get("_estimator", cls.__name__))

    def _check_fitted(self) -> None:
        if not hasattr(self, self._tensors[0]):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"This {type(self).__name__} is not fitted yet: call fit first")


def as_batches(
    estimator: Any,
    x: Any,
    *,
    layouts: Any = (2,),
    reset: bool = True,
    finite: bool = True,
    name: str = "X",
    sample_weight: Any = None,
    relative: bool = False,
    zeros: bool = False,
) -> Batches:
    """`x` as validated batches; nested lists and data frames become NumPy arrays through scikit-learn's validation.

    reset: whether to replace the number and names of features that the estimator expects. relative: whether the weights
    of an array, or of a list of `Weighted`, are scaled by `with_unit_mean`. zeros: whether all weights may be 0. The
    other parameters are those of `Batches`.
    """
    x, weights = split(x)
    check(not isinstance(x, (list, tuple)) or len(x) > 0, f"{name} must contain at least one batch, got none")
    weights = sample_weight if weights is None else weights
    if weights is not None:
        rule = "sample_weight must be omitted if X is a stream"
        check(not is_stream(x), f"{rule}: let the stream yield ildfv.weighted.Weighted")
        x = x if on_disk(x) else as_array(estimator, x, layouts=layouts, reset=reset)
        x = _with_checked_weights([Weighted(x, to_numpy(weights))], relative, zeros)[0]
        return Batches(x, layouts=layouts, name=name, finite=finite)
    if isinstance(x, (list, tuple)) and len(x) > 0 and all(isinstance(part, Weighted) for part in x):
        x = _with_checked_weights(list(x), relative, zeros)
    if not is_stream(x) and not on_disk(x):
        x = as_array(estimator, x, layouts=layouts, reset=reset)
    elif reset:
        _discard_feature_names(estimator)
    return Batches(x, layouts=layouts, name=name, finite=finite)


def _with_checked_weights(parts: list[Weighted], relative: bool, zeros: bool) -> list[Weighted]:
    # scikit-learn's estimator checks require these words.
    rule = "Sample weights must contain at least one non-zero number"
    check(zeros or any(part.weights.any() for part in parts), f"{rule}, got only zeros: omit these descriptors")
    return with_unit_mean(parts) if relative else parts


def as_array(estimator: Any, x: Any, *, layouts: Any = (2,), reset: bool = False) -> Any:
    """`x` as one validated array: array API arrays unchanged, anything else as NumPy."""
    shape = getattr(x, "shape", None)  # scikit-learn reports missing shapes and 1-D input
    if shape is not None and len(shape) != 1 and len(shape) not in layouts:
        raise InputError(f"X must have shape {' or '.join(LAYOUTS[n] for n in layouts)}, got {tuple(shape)}")
    if is_array(x):
        # scikit-learn's estimator checks require the words "Complex data not supported".
        check("complex" not in dtype_name(x), f"X must be real, got dtype {dtype_name(x)}: Complex data not supported")
        check(not isinstance(x, np.ma.MaskedArray), "X must not be a masked array: remove the masked rows")
    if _is_plain(x) and not hasattr(estimator, "feature_names_in_"):
        if reset:
            estimator.n_features_in_ = x.shape[1]
    elif not is_array(x) or (isinstance(x, np.ndarray) and x.ndim not in layouts[1:]):
        from sklearn.utils.validation import validate_data

        # float16 and integers keep their dtype here; they are converted batch by batch when they are read.
        x = validate_data(estimator, x, reset=reset, dtype="numeric", ensure_all_finite=False)
    elif reset:
        _discard_feature_names(estimator)
    check_real(x, "X")
    if not reset and x.ndim == 2 and x.shape[1] != estimator.n_features_in_:
        kind = type(estimator).__name__
        message = f"X has {x.shape[1]} features, but {kind} is expecting {estimator.n_features_in_} features as input"
        raise InputError(message)
    return x


def _is_plain(x: Any) -> bool:
    """Whether x is a NumPy array of rows in which scikit-learn's validation would find and change nothing."""
    return type(x) is np.ndarray and x.ndim == 2 and x.size > 0 and x.dtype.kind in "biuf"


def random_generator(random_state: RandomState) -> np.random.RandomState:
    """The generator that scikit-learn's `check_random_state` returns."""
    if isinstance(random_state, (int, np.integer)):
        return np.random.RandomState(random_state)
    from sklearn.utils import check_random_state

    generator: np.random.RandomState = check_random_state(random_state)
    return generator


def _discard_feature_names(estimator: Any) -> None:
    """Delete the feature names of an earlier fit, because the new input has none."""
    if hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_
