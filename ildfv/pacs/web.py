"""A DICOMweb server: series are found by QIDO-RS, read by WADO-RS and stored by STOW-RS."""

from __future__ import annotations

import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ildfv.errors import InputError, OutOfReachError, check
from ildfv.pacs.address import WebAddress
from ildfv.pacs.association import progress_text
from ildfv.pacs.credentials import PASSWORD, TOKEN, USER, Credentials
from ildfv.progress import SILENT, Progress
from ildfv.scans.libraries import quiet
from ildfv.store.atomic import check_space

ANY_SYNTAX = (("application/dicom", "*"),)  # as stored, without decompression by the server
ONE_PIECE = 1 << 62  # bytes of a chunk. Orthanc has answered 200 to chunked requests without storing anything.
TIMEOUT = (10, 300)  # seconds to connect, and between two packets of a response
ATTEMPTS, PAUSE = 10, 0.5  # reading back stored objects: attempts, seconds between; some servers index late
SERIES, INSTANCE = "0020000E", "00080018"  # SeriesInstanceUID, SOPInstanceUID
NOT_ALLOWED, MISSING = (401, 403), 404


class WebServer:
    """A DICOMweb server.

    Parameters
    ----------
    address : WebAddress
    credentials : Credentials
    """

    def __init__(self, address: WebAddress, credentials: Credentials):
        from dicomweb_client.api import DICOMwebClient
        from requests import Session
        from requests.auth import HTTPBasicAuth

        session = Session()
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
        series : str, optional
            SeriesInstanceUID; by default that of the address, or the CT series with the most instances.

        Raises
        ------
        InputError
            Wrong credentials, no such study, no CT series, an incomplete answer, or a full disk.
        OutOfReachError
            The server does not respond.
        """
        assert address.study is not None
        with _one_line(address, f"study {address.study}"):
            found = self._series_of(address.study)
            check(bool(found), f"{address} has no study {address.study}")
            chosen, notes = _chosen(found, series or address.series, f"study {address.study} on {address}")
            count = 0
            with progress.task("Receiving", total=found[chosen][1]) as advance:
                for dataset in self._client.iter_series(address.study, chosen, media_types=ANY_SYNTAX):
                    check_space(folder, len(dataset.get("PixelData", b"")))
                    dataset.save_as(folder / f"{count:06d}.dcm", enforce_file_format=True)
                    count += 1
                    advance(1)
        expected = found[chosen][1]
        check(count >= expected, f"{address} must send all {expected} instances of series {chosen}, got {count}")
        return notes

    def store(self, files: Sequence[Path]) -> int:
        """Stores files, the last one last, reads back which instances the server has, and returns their number.

        Storing an instance that the server already has changes nothing. Every instance is looked up before the next one
        is sent: with a full disk, Orthanc has accepted instances without storing them.

        Raises
        ------
        InputError
            Wrong credentials, refused or missing instances; the message says how many are stored.
        OutOfReachError
            The server does not respond.
        """
        from pydicom import dcmread

        stored: dict[tuple[str, str], set[str]] = defaultdict(set)
        for i, path in enumerate(files):
            dataset = dcmread(path)
            with _one_line(self.address, path.name, stored=i, of=len(files)):
                self._client.set_chunk_size(ONE_PIECE)
                answer = self._client.store_instances([dataset])
            for item in answer.get("FailedSOPSequence") or []:
                reason = int(item.get("FailureReason", 0))
                raise InputError(_refused(self.address, path.name, f"failure 0x{reason:04X}", i, len(files)))
            series, instance = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)
            if self._missing({series: {instance}}):
                text = f"{self.address} accepted {path.name} and did not store it: check its log and its free space"
                raise InputError(_progressed(text, i, len(files)))
            stored[series].add(instance)
        count = len(files) - len(self._missing(stored))
        check(
            count == len(files),
            f"{self.address} must list the {len(files)} objects that it stored, got {count}: check its log and its "
            "free space, and run the command again",
        )
        return count

    def _series_of(self, study: str) -> dict[str, tuple[str, int]]:
        """Modality and number of instances of each series of a study; empty if there is no such study."""
        from pydicom import Dataset

        fields = ["Modality", "NumberOfSeriesRelatedInstances"]
        found = {}
        search = partial(self._client.search_for_series, study_instance_uid=study, fields=fields)
        for item in _all_pages(search, SERIES).values():
            one = Dataset.from_json(item)
            count = int(one.get("NumberOfSeriesRelatedInstances") or 0)
            found[str(one.SeriesInstanceUID)] = (str(one.get("Modality") or ""), count)
        return found

    def _missing(self, stored: dict[tuple[str, str], set[str]]) -> set[str]:
        """The instances that the server does not list."""
        missing: set[str] = set()
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE)
            missing = set()
            with _one_line(self.address, "the list of stored objects"):
                for (study, series), instances in stored.items():
                    search = partial(self._client.search_for_instances, study, series)
                    missing |= instances - set(_all_pages(search, INSTANCE))
            if not missing:
                break
        return missing


def _all_pages(search: Callable[..., list[dict]], key: str) -> dict[str, dict]:
    """All results of a search by their UID. It also terminates if a server ignores the offset of a page."""
    found: dict[str, dict] = {}
    while True:
        page = search(offset=len(found)) if found else search()
        new = {item[key]["Value"][0]: item for item in page if item[key]["Value"][0] not in found}
        if not new:
            return found
        found |= new


def _chosen(found: dict[str, tuple[str, int]], series: str | None, where: str) -> tuple[str, list[str]]:
    """The series to read, and notes on the choice."""
    if series is not None:
        check(series in found, f"{where} has no series {series}")
        return series, []
    ct = sorted((uid for uid in found if found[uid][0] == "CT"), key=lambda uid: (-found[uid][1], uid))
    kinds = ", ".join(sorted({modality or "none" for modality, _ in found.values()}))
    check(bool(ct), f"{where} must have a CT series, got {kinds}")
    if len(ct) == 1:
        return ct[0], []
    sizes = ", ".join(str(found[uid][1]) for uid in ct)
    return ct[0], [f"{len(ct)} CT series with {sizes} images: the largest is used (/series/UID selects another)"]


@contextmanager
def _one_line(address: WebAddress, what: str, *, stored: int = 0, of: int = 0) -> Iterator[None]:
    """Turns errors of a request into InputErrors. No message contains credentials."""
    import requests
    from pydicom.errors import InvalidDicomError

    try:
        with quiet():
            yield
    except requests.HTTPError as error:
        code = 0 if error.response is None else error.response.status_code
        if code in NOT_ALLOWED:
            raise InputError(
                f"{address} refused the credentials (HTTP {code}): check {USER} and {PASSWORD}, or {TOKEN}"
            ) from None
        if code == MISSING and not of:
            raise InputError(f"{address} has no {what} (HTTP 404)") from None
        raise InputError(_refused(address, what, f"HTTP {code}{_failure(error.response)}", stored, of)) from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        text = _progressed(f"{address} must be reachable, got {_reason(error)}", stored, of)
        raise OutOfReachError(text) from None
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise InputError(f"{address} must be a DICOMweb server, got {type(error).__name__}") from None
        raise InputError(f"{error.filename or what}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, EOFError, struct.error, InvalidDicomError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{address} must be a DICOMweb server, got an invalid response for {what}") from error


def _refused(address: WebAddress, what: str, reason: str, stored: int, of: int) -> str:
    return _progressed(f"{address} refused {what}, {reason}", stored, of)


def _progressed(text: str, stored: int, of: int) -> str:
    """The text with the number of stored objects, if objects were being stored."""
    return f"{text} ({progress_text(stored, of)})" if of else text


def _failure(response) -> str:
    """The reason in the answer of a server that stored nothing, or ""."""
    from pydicom import Dataset

    try:
        failed = Dataset.from_json(response.json()).FailedSOPSequence
        return f", failure 0x{int(failed[0].FailureReason):04X}"
    except Exception:  # servers report errors as HTML, text or various JSON formats
        return ""


def _reason(error: Exception) -> str:
    """The innermost reason of a failed connection, without the URL, which the message has already."""
    text = str(error)
    known = {
        "Connection refused": "connection refused",
        "timed out": "no response in time",
        "Name or service not known": "an unknown host",
        "Temporary failure in name resolution": "an unknown host",
        "No route to host": "no route to the host",
        "CERTIFICATE_VERIFY_FAILED": "an untrusted certificate (set REQUESTS_CA_BUNDLE to trust others)",
        "WRONG_VERSION_NUMBER": "no TLS: use http://… for a server without TLS",
    }
    return next((words for key, words in known.items() if key in text), "a closed connection")
