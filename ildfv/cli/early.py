"""Checks that a command makes before it imports scikit-learn and torch, which takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ildfv.errors import InputError, check


def check_study(workspace: Path, device: str = "cpu") -> None:
    """Raises InputError unless the workspace exists and the device has a valid name."""
    from ildfv.pipeline.devices import check_name
    from ildfv.pipeline.location import check_workspace

    check_workspace(workspace)
    check_name(device)


def check_scan(path: Path) -> None:
    """Raises InputError, with the message of `datasets.search.files_below`, unless the path of a scan exists."""
    check(path.exists(), f"scans must be an existing folder or file, got {path}, which does not exist")


def missing_sources(sources: Sequence[str]) -> list[dict]:
    """{"source", "reason"} for each source that does not exist. InputError: an address is invalid."""
    from ildfv.pacs.address import is_address, parsed

    failed = []
    for source in sources:
        if is_address(source):
            parsed(source)
            continue
        try:
            check_scan(Path(source))
        except InputError as error:
            failed.append({"source": source, "reason": str(error)})
    return failed
