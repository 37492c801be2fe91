"""Results of a DICOMweb search, which servers may divide into pages."""

from __future__ import annotations

from collections.abc import Callable


def all_pages(search: Callable[..., list[dict]], key: str) -> dict[str, dict]:
    """All results of a search, by the UID with the tag `key`. It also ends if a server ignores the offset of a page."""
    found: dict[str, dict] = {}
    while True:
        page = search(offset=len(found)) if found else search()
        new = {item[key]["Value"][0]: item for item in page if item[key]["Value"][0] not in found}
        if not new:
            return found
        found |= new
