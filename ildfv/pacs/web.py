"""A DICOMweb server: QIDO-RS finds series, WADO-RS reads them, and STOW-RS stores objects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ildfv.counted import counted
from ildfv.errors import check
from ildfv.pacs.address import WebAddress
from ildfv.pacs.credentials import Credentials
from ildfv.pacs.failures import one_line
from ildfv.pacs.pages import all_pages
from ildfv.pacs.storing import Storing
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import check_space

ANY_SYNTAX = (("application/dicom", "*"),)  # as stored, without decompression by the server
TIMEOUT = (10, 300)  # seconds to connect, and between two packets of a response
SERIES = "0020000E"  # SeriesInstanceUID
LISTED = 5  # maximum number of series in a note


class WebServer:
    """A DICOMweb server.

    Parameters
    ----------
    address : WebAddress
        The URL of its service; a study or series in it is not used here.
    credentials : Credentials
        Empty credentials are not sent.
    """

    def __init__(self, address: WebAddress, credentials: Credentials):
        from dicomweb_client.api import DICOMwebClient
        from requests import Session
        from requests.auth import HTTPBasicAuth

        session = self._session = Session()
        if credentials.user:
            session.auth = HTTPBasicAuth(credentials.user.encode(), credentials.password.encode())
        elif credentials.token:
            session.headers["Authorization"] = f"Bearer {credentials.token}"
        self.address = address
        self._client = DICOMwebClient(address.url, session=session, timeout=TIMEOUT)
        self._client.set_http_retry_params(retry=False)  # retries would delay the error for minutes if a server is down

    def fetch(self, address: WebAddress, folder: Path, *, series: str | None, progress: Progress = SILENT) -> list[str]:
        """Writes the files of one CT series of a study into a folder and returns notes on the choice.

        Parameters
        ----------
        address : WebAddress
            A study, or one of its series.
        folder : path
            An existing, empty folder.
        series : str, optional
            SeriesInstanceUID, or the number of a CT series if they are sorted by decreasing number of instances; by
            default the series in the address, or the CT series with the most instances.

        Raises
        ------
        InputError
            Wrong credentials, no such study or series, no CT series, an incomplete response, or a full disk.
        OutOfReachError
            The server does not respond.
        """
        assert address.study is not None
        with one_line(address, f"study {address.study}"):
            available = self._series_of(address.study)
            check(bool(available), f"{address} has no study {address.study}")
            chosen, notes = _chosen(available, series or address.series, f"study {address.study} on {address}")
            count, expected = 0, available[chosen][1]
            with progress.task("Receiving", total=expected) as advance:
                for dataset in self._client.iter_series(address.study, chosen, media_types=ANY_SYNTAX):
                    check_space(folder, len(dataset.get("PixelData", b"")))
                    dataset.save_as(folder / f"{count:06d}.dcm", enforce_file_format=True)
                    count += 1
                    advance(1)
        check(count >= expected, f"{address} must send all {expected} instances of series {chosen}, got {count}")
        return notes

    def store(self, files: Sequence[Path]) -> int:
        """Stores files in their order and returns their number; see `storing.Storing`."""
        return Storing(self.address, self._client, self._session).store(files)

    def _series_of(self, study: str) -> dict[str, tuple[str, int]]:
        """Modality and number of instances of each series of a study; empty if there is no such study."""
        from pydicom import Dataset

        fields = ["Modality", "NumberOfSeriesRelatedInstances"]
        series = {}
        search = partial(self._client.search_for_series, study_instance_uid=study, fields=fields)
        for item in all_pages(search, SERIES).values():
            attributes = Dataset.from_json(item)
            count = int(attributes.get("NumberOfSeriesRelatedInstances") or 0)
            series[str(attributes.SeriesInstanceUID)] = (str(attributes.get("Modality") or ""), count)
        return series


def _chosen(available: dict[str, tuple[str, int]], series: str | None, where: str) -> tuple[str, list[str]]:
    """The series to read, and notes on the choice. available: modality and number of instances of each series."""
    ct = sorted((uid for uid in available if available[uid][0] == "CT"), key=lambda uid: (-available[uid][1], uid))
    if series is not None:
        if series.isdecimal() and 1 <= int(series) <= len(ct):
            return ct[int(series) - 1], []
        check(series in available, f"{where} has no series {series}")
        return series, []
    kinds = ", ".join(sorted({modality or "none" for modality, _ in available.values()}))
    check(bool(ct), f"{where} must have a CT series, got {kinds}")
    if len(ct) == 1:
        return ct[0], []
    sizes = [available[uid][1] for uid in ct[:LISTED]]
    listed = "; ".join(f"{number}: {counted(n, 'image')}" for number, n in enumerate(sizes, start=1))
    more = f"; and {len(ct) - LISTED} more" if len(ct) > LISTED else ""
    return ct[0], [
        f"{len(ct)} series were found: {listed}{more}. Series 1, with the most images, is used; choose another with "
        "--series NUMBER"
    ]
