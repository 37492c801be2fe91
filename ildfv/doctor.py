"""Checks of the installed packages, devices and backends, with a remedy for each problem."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from typing import NamedTuple

from ildfv.counted import counted
from ildfv.extras import EXTRAS, install_command, is_installed, missing_distributions


class Finding(NamedTuple):
    """The state of one component, and the remedy if it is absent or broken."""

    what: str
    state: str  # ok, absent (optional and not installed) or broken (installed, but does not work)
    detail: str
    advice: str | None = None


def examine() -> list[dict]:
    """The findings on all components: {"what", "state": ok | absent | broken, "detail", "advice" or None}.

    Kernels and decoders are run and torch is imported, because a package can be installed but broken.
    """
    checks = (_machine, _native, _extras, _torch, _torchvision, _cuda_kernel, _decoders, _faiss)
    return [finding._asdict() for check in checks for finding in check()]


def _machine() -> list[Finding]:
    cores, memory = counted(os.cpu_count() or 1, "core"), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    detail = f"{platform.machine()}, {cores}, {memory / 2**30:.0f} GiB, Python {platform.python_version()}"
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


def _extras() -> list[Finding]:
    findings = []
    for extra in ("ct", "viewer", "pacs", "pretrained", "networks", "lungs"):
        missing = missing_distributions(extra)
        if not missing:
            findings.append(Finding(f"extra [{extra}]", "ok", "installed"))
        else:
            lacking = "not installed" if len(missing) == len(EXTRAS[extra]) else f"{', '.join(missing)} not installed"
            findings.append(Finding(f"extra [{extra}]", "absent", lacking, install_command(extra)))
    return findings


def _torch() -> list[Finding]:
    if not is_installed("torch"):
        return [Finding("torch", "absent", "not installed", install_command("ct"))]
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library cannot be loaded
        return [Finding("torch", "broken", " ".join(str(error).split())[:250], "reinstall torch")]
    threads = counted(torch.get_num_threads(), "thread")
    return [Finding("torch", "ok", f"torch {torch.__version__}, {threads}"), *_gpu()]


def _torchvision() -> list[Finding]:
    if not (is_installed("torch") and is_installed("torchvision")):
        return []  # a missing torchvision is reported with its extra
    from ildfv.train.external import BUILDS, torchvision_problem

    problem = torchvision_problem()
    if problem is None:
        return [Finding("torchvision", "ok", "can be imported")]
    works, reason = problem
    return [Finding("torchvision", "ok" if works else "broken", reason, BUILDS)]


def _gpu() -> list[Finding]:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        advice = None if built else "with an NVIDIA GPU: pip install 'ildfv[cuda12]' or 'ildfv[cuda13]'"
        detail = f"torch is built for CUDA {built} but finds no device" if built else "torch is built for the CPU"
        return [Finding("GPU", "absent", detail, advice)]
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [Finding("GPU", "ok", ", ".join(names))]


def _cuda_kernel() -> list[Finding]:
    ahead_of_time = find_spec("ildfv.kernels._native_cuda")
    if ahead_of_time is None and not is_installed("cupy"):
        return [
            Finding("CUDA kernel", "absent", "CuPy is not installed", "pip install 'ildfv[cuda12]' or 'ildfv[cuda13]'")
        ]
    from ildfv.kernels.cuda import selftest

    try:
        return [Finding("CUDA kernel", "ok", selftest.run())]
    except Exception as error:  # any error of the driver or the compiler is reported as a finding
        reason = f"{selftest.build_description()}; {' '.join(str(error).split())}"
        return [Finding("CUDA kernel", "broken", reason[:250], "check the driver with nvidia-smi")]


def _decoders() -> list[Finding]:
    if not is_installed("pydicom"):
        return [Finding("DICOM", "absent", "pydicom is not installed: no DICOM can be read", install_command("ct"))]
    from ildfv.scans.pixels import COMPRESSED, can_decode

    findings = []
    for syntax, (name, _, package) in COMPRESSED.items():
        if can_decode(syntax):
            findings.append(Finding(f"DICOM {name}", "ok", "can be decoded"))
        else:
            findings.append(Finding(f"DICOM {name}", "absent", "cannot be decoded", f"pip install {package}"))
    return findings


def _faiss() -> list[Finding]:
    if not is_installed("faiss"):
        advice = install_command("cpu")
        return [Finding("FAISS", "absent", "not installed; mixtures are initialised by k-means++", advice)]
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
