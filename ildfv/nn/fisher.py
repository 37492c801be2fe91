"""A layer that computes Fisher vectors. Its mixture is trained with the network, or fixed."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from torch import Tensor, nn

from ildfv.arrays import to_numpy
from ildfv.errors import check, check_integer, check_number
from ildfv.estimators.mixture import GaussianMixture
from ildfv.kernels.checks import check_threshold
from ildfv.nn.normalise import improved, vectors
from ildfv.nn.operators import moments

PASSES = 20  # EM passes over the first batches; training then refines the mixture


class FisherVector2d(nn.Module):
    """Fisher vectors of activation maps (b, d, h, w) → (b, 2·k·d), differentiable with respect to maps and mixture.

    The forward pass is the kernel of `ildfv.FisherVector` on the CPU and on CUDA, with equal results. Memory is
    O(n·k) for n descriptors, because the n·k·d standardised differences are never stored.

    Parameters
    ----------
    n_features : int
        Channels of the maps, d.
    n_components : int
        Components of the mixture, k.
    improved : bool
        Whether to apply the signed power and then scale to unit L2 norm.
    power : float
        Exponent of the signed power, in (0, 1]. Used only if `improved`.
    order : {"component", "moment"}
        As in `ildfv.FisherVector`.
    weight_part : bool
        Whether to include the derivative with respect to the weights, which adds k outputs.
    threshold : float
        Posteriors below this value are set to 0 and have no gradient.
    trainable : bool
        Whether the mixture is trained. If False, it is stored in buffers; gradients with respect to maps are the same.
    device, dtype : optional
        Of the parameters, as for torch's layers.

    Attributes
    ----------
    logits : Tensor of shape (k,)
        The weights of the mixture are their softmax.
    means : Tensor of shape (k, d)
    log_variances : Tensor of shape (k, d)

    Notes
    -----
    A layer without a mixture is initialised by its first batch in training mode, or by `initialise`. With
    DistributedDataParallel, the first batch of rank 0 determines the mixture on all ranks.
    `torch.compile(fullgraph=True)` needs a layer that is initialised before its first compiled call, because the fit
    by EM is not compiled.

    Under autocast, float16 and bfloat16 maps are read without conversion; sums, parameters and outputs are float32.
    Gradients are exact (computed in float64 and rounded once); second derivatives are not available.

    References
    ----------
    Perronnin, Sánchez & Mensink, "Improving the Fisher kernel for large-scale image classification", ECCV 2010.

    Examples
    --------
    >>> layer = FisherVector2d(64, 16)
    >>> layer(torch.randn(8, 64, 14, 14)).shape
    torch.Size([8, 2048])
    """

    means: Tensor
    logits: Tensor
    log_variances: Tensor
    initialised: Tensor

    def __init__(
        self,
        n_features: int,
        n_components: int = 32,
        *,
        improved: bool = True,
        power: float = 0.5,
        order: Literal["component", "moment"] = "component",
        weight_part: bool = False,
        threshold: float = 1e-6,
        trainable: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.n_features = check_integer(n_features, "n_features", 1)
        self.n_components = check_integer(n_components, "n_components", 1)
        check(order in ("component", "moment"), f'order must be "component" or "moment", got {order!r}')
        self.power = check_number(power, "power", "in (0, 1]", lambda p: 0 < p <= 1)
        self.threshold = check_threshold(threshold)
        self.improved, self.order, self.weight_part, self.trainable = improved, order, weight_part, trainable
        k, d = n_components, n_features
        for name, shape in (("logits", (k,)), ("means", (k, d)), ("log_variances", (k, d))):
            start = torch.zeros(shape, device=device, dtype=dtype)
            if trainable:
                self.register_parameter(name, nn.Parameter(start))
            else:
                self.register_buffer(name, start)
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool, device=device))
        self._ready = False  # copy of the buffer, because reading a tensor would break the graph of torch.compile

    @classmethod
    def from_mixture(cls, mixture: Any, **options: Any) -> Self:
        """A layer with the parameters of a fitted mixture.

        Parameters
        ----------
        mixture : GaussianMixture
            A mixture, or any object with weights_ (k,), means_ (k, d) and variances_ (k, d).
        **options
            As for the constructor.

        Raises
        ------
        NotFittedError
            The mixture is not fitted.
        """
        _check_fitted(mixture)
        k, d = mixture.means_.shape
        return cls(d, k, **options).set_mixture(mixture)

    @property
    def n_outputs(self) -> int:
        """Length of a vector: 2·k·d, or 2·k·d + k with the weight part."""
        return 2 * self.n_components * self.n_features + self.weight_part * self.n_components

    def set_mixture(self, mixture: Any) -> Self:
        """Replace the parameters by those of a fitted mixture of the same shape."""
        _check_fitted(mixture)
        weights, means, variances = (to_numpy(getattr(mixture, name)) for name in ("weights_", "means_", "variances_"))
        shape = (self.n_components, self.n_features)
        check(means.shape == shape, f"mixture must have means of shape {shape}, got {means.shape}")
        smallest = np.finfo(np.float32).tiny  # a weight of 0 has no logarithm
        values = {"logits": np.log(np.maximum(weights, smallest)), "means": means, "log_variances": np.log(variances)}
        with torch.no_grad():
            for name, value in values.items():
                own = getattr(self, name)
                own.copy_(torch.as_tensor(value, dtype=own.dtype))
            self.initialised.fill_(True)
        self._ready = True
        return self

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch has no types for it
    def initialise(self, maps: Tensor | Iterable[Tensor], *, random_state: int = 0) -> Self:
        """Initialise the layer with a mixture that is fitted to activation maps by EM.

        Parameters
        ----------
        maps : Tensor of shape (b, d, h, w) or (b, n, d), or iterable of such batches
            The first batches. If a process group is initialised, the batches of rank 0 are used for all ranks.
        random_state : int
            Seed of the initialisation of EM.

        Returns
        -------
        self

        Raises
        ------
        InputError
            There is no batch, a batch has a wrong shape or values that are not finite, or there are fewer descriptors
            than components.
        """
        batches = [maps] if isinstance(maps, Tensor) else list(maps)
        check(len(batches) > 0, "maps must contain at least one batch, got none")
        for batch in batches:
            self._check(batch)
        several = torch.distributed.is_available() and torch.distributed.is_initialized()  # processes
        if not several or torch.distributed.get_rank() == 0:
            start = GaussianMixture(self.n_components, max_iter=PASSES, tol=0.01, random_state=random_state)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # an initial mixture need not have converged
                self.set_mixture(start.fit([batch.detach() for batch in batches]))
        if several:
            for value in (self.logits, self.means, self.log_variances):
                torch.distributed.broadcast(value.data, src=0)
            self.initialised.fill_(True)
            self._ready = True
        return self

    def mixture(self) -> GaussianMixture:
        """The current parameters as a `GaussianMixture`, for `ildfv.FisherVector` without torch."""
        self._check_ready()
        weights = self.logits.detach().double().softmax(dim=0)
        return GaussianMixture.from_parameters(
            *(to_numpy(a) for a in (weights, self.means.double(), self.log_variances.double().exp()))
        )

    def forward(self, maps: Tensor, weights: Tensor | None = None) -> Tensor:
        """Fisher vector of each map.

        Parameters
        ----------
        maps : Tensor of shape (b, d, h, w) or (b, n, d)
            float32, float64, float16 or bfloat16.
        weights : Tensor of shape (b, n), optional
            Weight of each descriptor, at least 0. Gradients with respect to weights are not computed.

        Returns
        -------
        Tensor of shape (b, 2·k·d), or (b, 2·k·d + k) with the weight part
            float64 for float64 maps, otherwise float32.

        Raises
        ------
        InputError
            `maps` or `weights` have a wrong shape or values that are not finite, a weight is negative, the layer is not
            initialised and in evaluation mode, or its initialisation by these maps fails.
        """
        self._check(maps)
        if not self._ready:
            self._initialise_by(maps)
        log_weights = self.logits.log_softmax(dim=0)
        s0, s1, s2 = moments(maps, log_weights, self.means, self.log_variances.exp(), weights, self.threshold)
        if weights is None:
            n = maps.shape[1] if maps.ndim == 3 else maps.shape[2] * maps.shape[3]
            counts = s0.new_full((maps.shape[0],), n)
        else:
            counts = weights.sum(dim=1).to(s0.dtype)
        raw = vectors(
            s0, s1, s2, counts, log_weights.exp().to(s0.dtype), order=self.order, weight_part=self.weight_part
        )
        return improved(raw, self.power) if self.improved else raw

    def _initialise_by(self, maps: Tensor) -> None:
        if not self.training:
            self._check_ready()
        self.initialise(maps)

    def _check_ready(self) -> None:
        check(self._ready, "FisherVector2d has no mixture yet: call initialise(maps), or use from_mixture")

    def _check(self, maps: Tensor) -> None:
        shape = tuple(maps.shape)
        check(maps.ndim in (3, 4), f"maps must have shape (b, d, h, w) or (b, n, d), got {shape}")
        d = shape[1] if maps.ndim == 4 else shape[2]
        check(
            d == self.n_features, f"maps must have {self.n_features} features like the layer, got {d} in shape {shape}"
        )

    def _load_from_state_dict(self, state_dict: Any, prefix: Any, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._ready = bool(self.initialised)

    def extra_repr(self) -> str:
        """The settings that `repr` shows."""
        kind = "trainable" if self.trainable else "fixed"
        return f"n_features={self.n_features}, n_components={self.n_components}, order={self.order!r}, {kind}"


def _check_fitted(mixture: Any) -> None:
    if not all(hasattr(mixture, name) for name in ("weights_", "means_", "variances_")):
        raise NotFittedError(f"mixture must be fitted, got an unfitted {type(mixture).__name__}: call its fit first")
