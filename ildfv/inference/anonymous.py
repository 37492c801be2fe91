"""Messages without the names of files and folders, which often contain the name or ID of a patient."""

from __future__ import annotations

import os
import re
from pathlib import Path

SHORTEST = 3  # characters; shorter names are not replaced, because they occur in ordinary words


def without_names(text: str, folder: Path) -> str:
    """The text with the names of all files and folders below `folder` replaced by "…".

    The name of `folder` itself is kept, because the user gave it and needs it to find the scan.
    """
    names: set[str] = set()
    for _, folders, files in os.walk(folder):
        names.update(folders, files)
    names = {name for name in names if len(name) >= SHORTEST}
    if not names:
        return text
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w]){either}(?![\w])".replace(either, f"(?:{either})"), "…", text)
