"""The report of `prepare` without anything that may identify a patient, for logs and bug reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

# Fields of a scan or file that are kept: hashes, counts, and how the scan was resampled.
KEPT = ("kind", "patient", "series", "slices", "labelled", "kept", "files", "resampled")


def without_paths(report: Mapping) -> dict:
    """A copy of the report with hashes and counts only.

    Paths, file names, notes and reasons are omitted; a reason may quote a file name or a tag. The name of the code
    table is kept only if the table is part of ildfv.
    """
    codes = report["codes"]
    shown = {name: value for name, value in report.items() if name not in ("notes", "codes")}
    shown["codes"] = codes if codes is None or _is_plain(codes) else None
    for name in ("prepared", "quarantined", "ignored", "removed"):
        shown[name] = [{key: one[key] for key in KEPT if key in one} for one in report[name]]
    return {**shown, "notes": []}


def _is_plain(codes: str) -> bool:
    """Whether `codes` is the name of a code table of ildfv, such as "phantom" or "cip", and not a file."""
    return PurePath(codes).suffix == "" and PurePath(codes).name == codes
