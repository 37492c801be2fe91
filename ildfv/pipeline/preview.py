"""The preview of `prepare --dry-run`, from headers only: scans, label maps, patients and unused files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ildfv.datasets.input import find_scans
from ildfv.datasets.report import joined, unused_dict
from ildfv.datasets.search import check_scans
from ildfv.datasets.unpacked import unpacked
from ildfv.pipeline.code_table import codes_note
from ildfv.pipeline.prepare_labels import column_notes, listed_patients, read_labels
from ildfv.pipeline.scan_settings import scan_settings
from ildfv.progress import SILENT, Progress
from ildfv.scans.grey import Grey


def preview_scans(
    scans: Path,
    *,
    codes: str | None = None,
    table: Path | None = None,
    packed: bool = False,
    resample: bool = False,
    patient_from: str = "id",
    labels: Path | None = None,
    ignored_columns: Sequence[str] = (),
    grey: Grey | None = None,
    lung_masks: Path | None = None,
    layout: str | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> dict:
    """The input that `prepare_scans` would use, as JSON values. Only headers are read, and nothing is written.

    Returns
    -------
    dict
        "dry_run": True. "codes": the code table. "scans": "source", "kind", "patient" (as in the files, not hashed),
        "slices" and "label" of each scan. "quarantined" and "ignored": the other files with the reason. "notes":
        sentences on the columns of the tables. The result may identify patients.

    Raises
    ------
    InputError
        An option, table or label file is invalid.
    """
    scans = Path(scans)
    check_scans(scans)
    labelled = read_labels(labels, ignored_columns, scans)
    with unpacked(scans, packed=packed, progress=progress) as view:
        chosen, settings = scan_settings(
            view,
            codes=codes,
            table=table,
            patients=listed_patients(labelled),
            packed=packed,
            resample=resample,
            patient_from=patient_from,
            grey=grey,
            lung_masks=lung_masks,
            layout=layout,
        )
        progress.note(codes_note(view.shown(chosen)))
        found = find_scans(view.folder, settings, view=view, workers=workers, progress=progress)
        listed = [
            {
                "source": str(scan.source),
                "kind": scan.kind,
                "patient": scan.patient,
                "slices": scan.geometry.shape[0],
                "label": joined([label.path for label in scan.labels]),
            }
            for scan in found.scans
        ]
        return view.shown(
            {
                "dry_run": True,
                "codes": chosen,
                "scans": listed,
                "quarantined": [unused_dict(unused) for unused in found.quarantined],
                "ignored": [unused_dict(unused) for unused in found.ignored],
                "notes": column_notes(table, labelled),
            }
        )
