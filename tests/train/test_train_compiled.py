"""Compiled steps give the same result, are compiled once per batch size, and are turned off if the compiler fails."""

import numpy as np
import pytest
import torch
from train_support import MemorySlices  # registers the network "tiny"

from ildfv.errors import InputError
from ildfv.streaming import transfer
from ildfv.streaming.feeding import feed, outputs
from ildfv.train import compiled, networks
from ildfv.train.compiled import Compiled, should_compile
from ildfv.train.data import Epoch
from ildfv.train.optimizer import make_optimizer
from ildfv.train.settings import TrainSettings
from ildfv.train.step import Step

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def learned(compiler=None, steps=6, sizes=(16,), name="tiny"):
    """Weights after steps with the given batch sizes."""
    settings = TrainSettings(network=name, epochs=1, optimizer="sgd", learning_rate=0.01)
    network = networks.build(name, seed=0).train()
    loss = lambda f, indices: (f - torch.from_numpy(indices).float()[:, None] / 50) ** 2  # noqa: E731
    run = Compiled(network, compiler=compiler) if compiler else None
    step = Step(network, make_optimizer(settings, network), loss, CPU, compiled=run)
    slices = MemorySlices()
    batches = [batch for size in sizes for batch in Epoch(slices, np.arange(48), size, 0, 0)]
    for number, (batch, images) in enumerate(list(feed(batches, CPU))[:steps]):
        step(batch, images, number, 0.01)
    return networks.tensors(network)


@pytest.mark.slow
def test_compiled_steps_learn_the_same_and_are_compiled_once():
    calls = []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    torch._dynamo.reset()
    ours = learned(lambda network, dynamic: torch.compile(network, dynamic=dynamic, backend=backend), sizes=(16, 16))
    first = len(calls)
    assert first > 0
    theirs = learned(sizes=(16, 16))
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6)
    torch._dynamo.reset()
    calls.clear()
    learned(lambda network, dynamic: torch.compile(network, dynamic=dynamic, backend=backend), steps=1)
    assert len(calls) == first  # the draws of dropout do not trigger recompilation


class CompilerError(RuntimeError):
    """Compiler errors are recognised by their module, which this exception has."""


CompilerError.__module__ = "torch._inductor.exc"


def failing(error):
    def compiler(network, dynamic):
        assert dynamic is False

        def forward(images):
            raise error

        return forward

    return compiler


def test_a_failing_compiler_is_turned_off_with_a_note():
    notes, network = [], torch.nn.Linear(2, 1)
    run = Compiled(network, compiler=failing(CompilerError("no\nTriton")), note=notes.append)
    for _ in range(3):
        assert torch.equal(run(lambda forward: forward(torch.ones(1, 2))), network(torch.ones(1, 2)))
    assert notes == ["torch.compile is not used: no Triton"]


def test_a_failed_step_leaves_no_gradients():
    network = torch.nn.Linear(2, 1)
    run = Compiled(network, compiler=lambda network, dynamic: lambda x: 2 * network(x))

    def step(forward):
        loss = forward(torch.ones(1, 2)).sum()
        loss.backward()
        if forward is not network:
            raise CompilerError("of the backward pass")
        return loss

    run(step)
    assert network.weight.grad.tolist() == [[1.0, 1.0]]


def test_with_insist_compiler_errors_are_raised_and_other_errors_always_are():
    for error, insist in ((CompilerError("no"), True), (torch.OutOfMemoryError("full"), False)):
        run = Compiled(torch.nn.Linear(2, 1), compiler=failing(error), insist=insist)
        with pytest.raises(type(error)):
            run(lambda forward: forward(torch.ones(1, 2)))


def test_by_default_only_long_trainings_on_a_gpu_are_compiled():
    assert not should_compile(None, CPU, 10**9)
    assert should_compile(None, CUDA, compiled.MIN_SLICES)
    assert not should_compile(None, CUDA, compiled.MIN_SLICES - 1)
    assert should_compile(True, CUDA, 1)
    assert not should_compile(False, CUDA, 10**9)
    assert not should_compile(False, CPU, 1)


def test_compile_on_a_cpu_is_refused(tmp_path):
    trainer = pytest.importorskip("ildfv.train.trainer")
    with pytest.raises(InputError, match='compile must be False or None on device "cpu", got True'):
        trainer.train(TrainSettings("tiny"), MemorySlices(), np.arange(40), np.arange(40, 60), tmp_path, compile=True)


class NoGpu:
    """The CPU in place of a GPU: copies are synchronous."""

    def __init__(self, device):
        pass

    def stream(self):
        return None

    def on(self, stream):
        return torch.autograd.profiler.record_function("stream")

    mark = wait = follow = keep = lambda self, *_: None

    def pinned(self, size):
        return torch.empty(size, dtype=torch.uint8)

    def moved(self, tensor):
        return tensor.clone()


def test_feeding_a_gpu_gives_the_same_batches_and_outputs(monkeypatch):
    monkeypatch.setattr(transfer, "Gpu", NoGpu)
    monkeypatch.setenv("ILDFV_GRAPHS", "0")
    slices = MemorySlices()
    epoch = Epoch(slices, np.arange(45), 16, 0, 0)
    for (a, x), (b, y) in zip(feed(epoch, CPU), feed(epoch, CUDA), strict=True):
        assert np.array_equal(a.indices, b.indices)
        assert torch.equal(x, y)
        assert torch.equal(x, torch.from_numpy(slices.data[a.indices]))
    network, room = networks.build("tiny").eval(), 7
    sizes, notes = [], []

    def cramped(images):
        if len(images) > room:
            raise torch.OutOfMemoryError("full")
        sizes.append(len(images))
        return network(images)

    cut = np.array_split(np.arange(45), 4)
    with torch.inference_mode():
        ours = np.concatenate(list(outputs(cramped, slices.images, cut, CUDA, notes.append)))
        theirs = np.concatenate(list(outputs(network, slices.images, cut, CPU, notes.append)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert sum(sizes) == 45
    assert max(sizes) <= room
    assert len(notes) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compile", [False, True])
def test_a_gpu_learns_and_predicts_as_the_cpu_does(tmp_path, compile):
    trainer = pytest.importorskip("ildfv.train.trainer")
    slices, settings = MemorySlices(), TrainSettings("tiny", epochs=2)
    split = np.arange(40), np.arange(40, 60)
    there = trainer.train(settings, slices, *split, tmp_path / "gpu", device="cuda:0", compile=compile)
    here = trainer.train(settings, slices, *split, tmp_path / "cpu")
    ours = trainer.predict(there.network, slices, np.arange(60), device="cuda:0", batch_size=8)
    np.testing.assert_allclose(ours, trainer.predict(here.network, slices, np.arange(60)), rtol=1e-2, atol=1e-2)
