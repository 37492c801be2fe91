"""A network's steps through `torch.compile`, on a GPU and where there is enough to learn from; or as it is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ildfv.errors import check
from ildfv.train.blocks import Dropout

ENOUGH = 20_000  # slices learned from, all epochs: a compiler's minute should be a small part. Not measured yet.
COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch", "triton")


def wanted(asked: bool | None, device: torch.device, slices: int) -> bool:
    """Whether to compile: as asked, on a GPU; None: there if `slices`, of all epochs, are enough to make up for it."""
    check(not asked or device.type == "cuda", f'compile must be False or None on device "{device}", got True')
    return device.type == "cuda" and (slices >= ENOUGH if asked is None else asked)


class Compiled:
    """step → step(forward), with the network's forward compiled for each size of batch.

    Where the compiler fails, `note` is told and the network goes on as it is; with `insist` the error is raised.
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
                if self.insist or not _is_compilers(error):
                    raise
                said = " ".join(str(error).split())[:200]
            self.forward = self.network
            self.network.zero_grad(set_to_none=True)  # of half a step
            self.note(f"without torch.compile: {said}")
        return step(self.network)


def _is_compilers(error: BaseException) -> bool:
    """Whether the error is the compiler's, not the network's or the device's."""
    return any(kind.__module__.startswith(COMPILERS) for kind in type(error).__mro__)
