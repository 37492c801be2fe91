"""The settings of a search for scans, from the options of `prepare` and of its preview."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ildfv.datasets.set_layouts import CODES, LAYOUTS
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.table import read_table
from ildfv.datasets.unpacked import Unpacked
from ildfv.errors import check
from ildfv.pipeline.code_table import chosen_codes
from ildfv.scans.labels import Codes


def scan_settings(
    view: Unpacked, *, codes: str | None, table: Path | None, layout: str | None = None, **options: Any
) -> tuple[str | None, ScanSettings]:
    """(code table or None, settings). The table of scans is read first, so that its errors are reported first.

    options: all other fields of `ScanSettings`.
    """
    if table is not None:
        read_table(table, view.folder if view.folder.is_dir() else view.folder.parent)
    chosen = chosen_codes(view, codes)
    if layout is not None:
        check(layout in LAYOUTS, f'--layout must be one of {", ".join(LAYOUTS)}, got "{layout}"')
        chosen = chosen or CODES.get(layout)
        check(chosen is not None, f"--layout {layout} needs --codes, the code table of the data set, got none")
    loaded = None if chosen is None else Codes.load(chosen)
    return chosen, ScanSettings(codes=loaded, table=table, layout=layout, **options)
