"""The layer on several processes: equal parameters after the first batch, and gradients averaged over ranks."""

import pytest

torch = pytest.importorskip("torch")

from ildfv.nn import FisherVector2d  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")


def _rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://localhost:{port}", rank=rank, world_size=2)
    torch.manual_seed(rank)  # ranks have different maps, and so would have different mixtures
    layer = FisherVector2d(3, 2)
    model = torch.nn.parallel.DistributedDataParallel(layer)
    maps = torch.randn(2, 3, 5, 5)
    model(maps)[:, ::2].sum().backward()
    own = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    names = [name for name, _ in layer.named_parameters()]
    alone = FisherVector2d.from_mixture(layer.mixture())
    out = torch.func.functional_call(alone, dict(zip(names, own, strict=True)), maps)
    mine = torch.autograd.grad(out[:, ::2].sum(), own)
    torch.save(
        {"parameters": [p.data for p in layer.parameters()], "averaged": [p.grad for p in layer.parameters()],
         "mine": mine},
        f"{folder}/{rank}.pt",
    )  # fmt: skip
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_start_equal_and_average_their_gradients(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_rank, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for a, b in zip(first["parameters"], second["parameters"], strict=True):
        assert torch.equal(a, b)
    for a, b, averaged in zip(first["mine"], second["mine"], first["averaged"], strict=True):
        assert not torch.allclose(a, b)
        torch.testing.assert_close(averaged, (a + b) / 2, rtol=1e-4, atol=1e-5)
