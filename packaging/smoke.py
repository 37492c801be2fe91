"""Checks an installed ildfv: `python packaging/smoke.py`, in any folder and without a compiler.

The C++ kernel is compared with the reference for every instruction set of this machine, Fisher vectors with their
formula, and the commands are run. Ends with exit code 1 at the first difference.
"""

import json
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import numpy as np

import ildfv
from ildfv.errors import InputError
from ildfv.kernels import cpu, reference

ISAS = ("baseline", "avx2", "avx512")
TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-10}


def installed_from_elsewhere() -> None:
    """The imported package is an installed one: not the folder that this file belongs to."""
    package, sources = Path(ildfv.__file__).parents[1], Path(__file__).resolve().parents[1]
    assert package != sources, f"ildfv must be installed, got the sources {sources}: install it without -e"
    assert ildfv.__version__ == metadata.version("ildfv")
    for module, file in (("ildfv", "py.typed"), ("ildfv._csrc", "cuda/moments.cu"), ("ildfv.viewer", "static/app.js")):
        assert resources.files(module).joinpath(file).is_file(), f"{module} lacks {file}"


def moments_agree_with_the_reference() -> list[str]:
    """The instruction sets that were compared."""
    random = np.random.default_rng(0)
    mixture = np.array([0.5, 0.3, 0.2]), random.normal(size=(3, 8)), random.uniform(0.5, 2, size=(3, 8))
    compared = []
    for isa in ISAS:
        try:
            cpu.set_instruction_set(isa)
        except InputError:  # this machine does not have it
            continue
        for dtype, tolerance in TOLERANCE.items():
            maps = random.normal(size=(4, 500, 8)).astype(dtype)
            ours, theirs = cpu.moments(maps, *mixture), reference.moments(maps, *mixture)
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max(), err_msg=isa)
        compared.append(isa)
    cpu.set_instruction_set(None)
    return compared


def fisher_vectors_agree_with_the_formula() -> None:
    random = np.random.default_rng(1)
    maps = random.normal(size=(5, 300, 6))
    mixture = ildfv.GaussianMixture(n_components=4, random_state=0).fit(maps.reshape(-1, 6))
    w, means, variances = mixture.weights_, mixture.means_, mixture.variances_
    s0, s1, s2, _ = reference.moments(maps, w, means, variances)
    root = np.sqrt(w)[None, :, None] * maps.shape[1]
    parts = np.concatenate([s1 / root, (s2 - s0[:, :, None]) / (root * np.sqrt(2))], axis=2).reshape(len(maps), -1)
    expected = np.sign(parts) * np.sqrt(np.abs(parts))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(ildfv.FisherVector(mixture).transform(maps), expected, atol=1e-9)


def commands_run() -> None:
    command = Path(sys.executable).with_name("ildfv")
    shown = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "predict" in shown.stdout
    examined = subprocess.run([command, "doctor", "--json"], capture_output=True, text=True, check=True)
    kernel = next(one for one in json.loads(examined.stdout)["findings"] if one["what"] == "C++ kernel")
    assert kernel["state"] == "ok", kernel


if __name__ == "__main__":
    installed_from_elsewhere()
    compared = moments_agree_with_the_reference()
    fisher_vectors_agree_with_the_formula()
    commands_run()
    print(f"ildfv {ildfv.__version__}: works; kernel compared for {', '.join(compared)}")
