"""The versions of ildfv and of the packages on which results depend."""

from __future__ import annotations

import platform
from importlib import metadata

__version__ = metadata.version("ildfv")

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "h5py", "pydicom", "cupy-cuda12x", "cupy-cuda13x")


def versions() -> dict[str, str]:
    """Versions of ildfv, Python and the installed packages on which results depend, by name; also the machine type."""
    result = {"ildfv": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            result[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return result
