"""Results of a DICOMweb search, which servers may divide into pages."""

from __future__ import annotations

from collections.abc import Callable


def all_pages(search: Callable[..., list[dict]], key: str) -> dict[str, dict]:
    """All results of a search, by the UID in the tag `key`.

    The search ends when a page contains nothing new, so it also ends if the server ignores the offset.
    """
    results: dict[str, dict] = {}
    while True:
        page = search(offset=len(results)) if results else search()
        new = {item[key]["Value"][0]: item for item in page if item[key]["Value"][0] not in results}
        if not new:
            return results
        results |= new
