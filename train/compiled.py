"""Training steps compiled by `torch.compile`, on a GPU if the training run is long enough to benefit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ildfv.errors import check
from ildfv.train.blocks import Dropout

# Minimum number of slices over all epochs, so that a minute of compilation is a small part of the time; not measured.
MIN_SLICES = 20_000
COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch", "triton")


def should_compile(requested: bool | None, device: torch.device, slices: int) -> bool:
    """Whether to compile; if `requested` is None, on a GPU with at least MIN_SLICES `slices` over all epochs."""
    check(not requested or device.type == "cuda", f'compile must be False or None on device "{device}", got True')
    return device.type == "cuda" and (slices >= MIN_SLICES if requested is None else requested)


class Compiled:
    """Callable: step → step(forward), where forward is the network, compiled for each batch size.

    If the compiler fails, `note` is called and the uncompiled network is used; with `insist` the error is raised.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        insist: bool = False,
        note: Callable[[str], None] = lambda text: None,
        compiler: Callable = torch.compile,
    ):
        self.network, self.insist, self.note = network, insist, note
        for module in network.modules():
            if isinstance(module, Dropout):
                module.leave_to_python()
        self.forward: Callable = compiler(network, dynamic=False)

    def __call__(self, step: Callable[[Callable], torch.Tensor]) -> torch.Tensor:
        if self.forward is not self.network:
            try:
                return step(self.forward)
            except Exception as error:
                if self.insist or not _is_compiler_error(error):
                    raise
                reason = " ".join(str(error).split())[:200]
            self.forward = self.network
            self.network.zero_grad(set_to_none=True)  # gradients of the failed step
            self.note(f"torch.compile is not used: {reason}")
        return step(self.network)


def _is_compiler_error(error: BaseException) -> bool:
    """Whether the error was raised by the compiler, not by the network or the device."""
    return any(kind.__module__.startswith(COMPILERS) for kind in type(error).__mro__)
