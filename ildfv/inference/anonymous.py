"""Messages without the names of files and folders, which often contain the name or ID of a patient."""

from __future__ import annotations

import os
import re
from pathlib import Path

SHORTEST = 3  # characters; shorter names are not replaced, because they occur in ordinary words


def without_names(text: str, *folders: Path) -> str:
    """The text with the names of all files and folders below `folders` replaced by "…".

    The names of `folders` themselves are kept, because the user gave them and needs them to find the scan. Longer names
    are replaced first, because a name may be a part of another.
    """
    names: set[str] = set()
    for folder in folders:
        for _, inner, files in os.walk(folder):
            names.update(inner, files)
    names = {name for name in names if len(name) >= SHORTEST}
    if not names:
        return text
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w]){either}(?![\w])".replace(either, f"(?:{either})"), "…", text)
