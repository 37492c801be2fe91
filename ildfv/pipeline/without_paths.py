"""The result of `prepare` without anything that may identify a patient, for logs and bug reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

# Of a scan or file: hashes, counts, and how it was resampled.
KEPT = ("kind", "patient", "series", "slices", "labelled", "kept", "files", "resampled")


def without_paths(report: Mapping) -> dict:
    """The same document with hashes and counts only.

    Paths, file names, notes and reasons are omitted, because a reason may quote a file name or a tag. The code table is
    named only if it is a shipped one.
    """
    codes = report["codes"]
    shown = {name: value for name, value in report.items() if name not in ("notes", "codes")}
    shown["codes"] = codes if codes is None or _is_plain(codes) else None
    for name in ("prepared", "quarantined", "ignored", "removed"):
        shown[name] = [{key: one[key] for key in KEPT if key in one} for one in report[name]]
    return {**shown, "notes": []}


def _is_plain(codes: str) -> bool:
    """Whether this is the name of a shipped table, "phantom" or "cip", and not a file."""
    return PurePath(codes).suffix == "" and PurePath(codes).name == codes
