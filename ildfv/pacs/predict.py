"""Predicts scans on disk and on a PACS, and delivers DICOM objects to a folder and to a PACS."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ildfv.errors import InputError, check
from ildfv.inference.cnn_methods import CnnMethod
from ildfv.inference.inbox import predict_all
from ildfv.inference.predictor import Predictor
from ildfv.pacs.address import EntityAddress, WebAddress, is_address, parsed
from ildfv.pacs.credentials import credentials
from ildfv.pacs.web import WebServer
from ildfv.progress import SILENT, Progress

if TYPE_CHECKING:
    from ildfv.pacs.delivery import ObjectDelivery


def predict_and_deliver(
    sources: Sequence[str],
    predictor: Predictor | Path,
    *,
    out: Path | None = None,
    dicom: Path | None = None,
    store: bool = False,
    series: str | None = None,
    device: str = "cpu",
    keep_identity: bool = False,
    fresh: bool = False,
    cnn_maps: CnnMethod | None = None,
    lung_masks: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[list[dict], list[dict], list[dict]]:
    """Predictions, failures and deliveries for all scans in `sources`.

    Parameters
    ----------
    sources : sequence of str
        Paths of scans and addresses of studies, and at most one address of a destination (see `address`).
    predictor : Predictor or path
        The predictor, or its folder.
    out, dicom : path, optional
        Folders for the files of each scan and for its DICOM objects.
    store : bool
        Whether to store the objects at the destination or, without a destination, on the server of the scan.
    series : str, optional
        For scans on disk, as for `inbox.predict_all`; for studies on a server, as for `WebServer.fetch`.
    device, keep_identity, fresh, cnn_maps, lung_masks, progress
        As for `inbox.predict_all`.

    Returns
    -------
    answered, failed : list of dict
        As for `inbox.predict_all`.
    delivered : list of dict
        As for `ObjectDelivery`.

    Raises
    ------
    InputError
        An address, the credentials or the predictor is invalid, or the options cannot be combined. Errors of single
        scans are in `failed` instead.
    """
    paths, studies, destination = _sorted(sources, store)
    # Loaded here so that an invalid predictor is reported before a scan is read or received.
    loaded = predictor if isinstance(predictor, Predictor) else Predictor.load(predictor, device=device)
    if cnn_maps is not None:
        loaded.check_cnn_maps(cnn_maps)
    with tempfile.TemporaryDirectory(prefix="ildfv-") as temporary:  # mode 0700
        delivery = _delivery(dicom, Path(temporary) / "objects", destination)
        options: dict = {
            "out": out,
            "keep_identity": keep_identity,
            "fresh": fresh,
            "cnn_maps": cnn_maps,
            "lung_masks": lung_masks,
            "progress": progress,
        }
        answered, failed = predict_all(paths, loaded, series=series, delivery=delivery, **options)
        delivered = [] if delivery is None else delivery.delivered
    for study in studies:
        with tempfile.TemporaryDirectory(prefix="ildfv-") as temporary:
            folder = Path(temporary) / "scan"
            delivery = _delivery(dicom, Path(temporary) / "objects", destination or (study if store else None))
            try:
                notes = _fetch(study, folder, series, progress)
            except InputError as error:
                failed.append({"source": _shown(study), "reason": str(error)})
                continue
            # The outputs name the address, not the temporary folder.
            good, bad = predict_all([folder], loaded, delivery=delivery, shown=_shown(study), notes=notes, **options)
            answered += good
            failed += bad
            delivered += [] if delivery is None else delivery.delivered
    return answered, failed, delivered


def _sorted(
    sources: Sequence[str], store: bool
) -> tuple[list[Path], list[WebAddress], WebAddress | EntityAddress | None]:
    """Paths, studies on a PACS, and the destination if there is one. InputError: `sources` cannot be combined."""
    paths: list[Path] = []
    studies: list[WebAddress] = []
    destinations: list[WebAddress | EntityAddress] = []
    for source in sources:
        address = parsed(source) if is_address(source) else None
        if address is None:
            paths.append(Path(source))
        elif isinstance(address, WebAddress) and address.study is not None:
            studies.append(address)
        else:
            destinations.append(address)
    for address in destinations:
        check(store, f"{address} has no study: add /studies/UID to read one, or --store to store objects there")
    check(len(destinations) <= 1, f"--store must have at most one destination, got {len(destinations)}")
    check(bool(paths or studies), "predict needs a scan: a path, or dicomweb://host/path/studies/UID")
    check(
        not (store and paths and not destinations),
        "--store needs a destination for scans on disk: --store dicomweb://host/path or --store dicom://AET@host:port",
    )
    return paths, studies, destinations[0] if destinations else None


def _delivery(dicom: Path | None, temporary: Path, target: WebAddress | EntityAddress | None) -> ObjectDelivery | None:
    if dicom is None and target is None:
        return None
    from ildfv.pacs.association import Entity
    from ildfv.pacs.delivery import ObjectDelivery

    server: WebServer | Entity | None = None
    if isinstance(target, WebAddress):
        server = WebServer(WebAddress(target.url), credentials())
    elif target is not None:
        server = Entity(target)
    return ObjectDelivery(dicom or temporary, server)


def _fetch(study: WebAddress, folder: Path, series: str | None, progress: Progress) -> list[str]:
    """Writes the files of a series to a new folder, and returns notes on the choice of the series."""
    folder.mkdir()
    return WebServer(study, credentials()).fetch(study, folder, series=series, progress=progress)


def _shown(study: WebAddress) -> str:
    return f"{study.url}/studies/{study.study}" + (f"/series/{study.series}" if study.series else "")
