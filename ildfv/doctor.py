"""Checks of the installation: packages, devices and backends, with advice for those that do not work."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib import metadata
from typing import NamedTuple


class Finding(NamedTuple):
    what: str
    state: str  # ok, absent (optional, not installed) or broken (installed, does not work)
    detail: str
    advice: str | None = None


def examine() -> list[dict]:
    """One finding per component: {"what", "state": ok | absent | broken, "detail", "advice"}. Each component is run."""
    checks = (_machine, _native, _torch, _cuda, _decoders, _faiss)
    return [finding._asdict() for check in checks for finding in check()]


def _several(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _machine() -> list[Finding]:
    import psutil

    cores, memory = _several(os.cpu_count() or 1, "core"), psutil.virtual_memory().total / 2**30
    detail = f"{platform.machine()}, {cores}, {memory:.0f} GiB, Python {platform.python_version()}"
    return [Finding("machine", "ok", detail)]


def _native() -> list[Finding]:
    try:
        import numpy as np

        from ildfv.kernels import cpu, reference

        random = np.random.default_rng(0)
        maps = random.normal(size=(2, 50, 8)).astype(np.float32)
        mixture = np.full(4, 0.25), random.normal(size=(4, 8)), np.ones((4, 8))
        ours, theirs = cpu.moments(maps, *mixture), reference.moments(maps, *mixture)
        error = float(np.abs(np.asarray(ours.s1) - theirs.s1).max())
        if error > 1e-3:
            return [Finding("C++ kernel", "broken", f"differs from the reference by {error:.1e}", "reinstall ildfv")]
        return [Finding("C++ kernel", "ok", f"instruction set {cpu.instruction_set()}, agrees with the reference")]
    except ImportError as error:
        return [
            Finding(
                "C++ kernel", "broken", str(error), "install a C++ compiler, then: pip install --force-reinstall ildfv"
            )
        ]


def _torch() -> list[Finding]:
    import torch

    threads = _several(torch.get_num_threads(), "thread")
    return [Finding("torch", "ok", f"torch {torch.__version__}, {threads}")]


def _cuda() -> list[Finding]:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        advice = None if built else "with an NVIDIA GPU: pip install 'ildfv[cuda12]' or 'ildfv[cuda13]'"
        found = f"torch is built for CUDA {built}, but finds no device" if built else "torch is built for the CPU"
        return [Finding("GPU", "absent", found, advice), *_cupy()]
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [Finding("GPU", "ok", ", ".join(names)), *_cupy()]


def _cupy() -> list[Finding]:
    ahead_of_time = importlib.util.find_spec("ildfv.kernels._native_cuda")
    if ahead_of_time is None and importlib.util.find_spec("cupy") is None:
        return [
            Finding("CUDA kernel", "absent", "CuPy is not installed", "pip install 'ildfv[cuda12]' or 'ildfv[cuda13]'")
        ]
    from ildfv.kernels.cuda import moments as cuda

    try:
        return [Finding("CUDA kernel", "ok", cuda.describe())]
    except Exception as error:  # errors of the driver or compiler have no common class
        detail = f"{cuda.how()}; {' '.join(str(error).split())}"
        return [Finding("CUDA kernel", "broken", detail[:250], "check the driver with nvidia-smi")]


def _decoders() -> list[Finding]:
    if importlib.util.find_spec("pydicom") is None:
        return [Finding("DICOM", "absent", "not installed, DICOM files cannot be read", "pip install pydicom")]
    from ildfv.scans.pixels import COMPRESSED, can_decode

    findings = []
    for syntax, (name, _, package) in COMPRESSED.items():
        if can_decode(syntax):
            findings.append(Finding(f"DICOM {name}", "ok", "can be decoded"))
        else:
            findings.append(Finding(f"DICOM {name}", "absent", "cannot be decoded", f"pip install {package}"))
    return findings


def _faiss() -> list[Finding]:
    if importlib.util.find_spec("faiss") is None:
        return [Finding("FAISS", "absent", "not installed; mixtures start from k-means++", "pip install 'ildfv[cpu]'")]
    version = next(
        (f"{name} {metadata.version(name)}" for name in ("faiss-cpu", "faiss-gpu") if _installed(name)), "installed"
    )
    return [Finding("FAISS", "ok", version)]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
