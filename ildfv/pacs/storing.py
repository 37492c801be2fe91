"""Storage of DICOM objects on a DICOMweb server (STOW-RS): all of them or, if the server allows removal, none.

DICOM has no transactions. If an object cannot be stored, those that the same call has stored are removed: by DELETE on
their DICOMweb resource, or by the REST interface of Orthanc, whose DICOMweb plug-in refuses DELETE.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ildfv.errors import InputError, check
from ildfv.pacs.address import WebAddress
from ildfv.pacs.failures import one_line
from ildfv.pacs.pages import all_pages

# Bytes of a chunk: no request is chunked, because Orthanc has answered 200 to chunked requests and stored nothing.
ONE_PIECE = 1 << 62
ATTEMPTS, PAUSE = 10, 0.5  # attempts to find a stored object, and seconds between them; some servers index with a delay
INSTANCE = "00080018"  # SOPInstanceUID
GONE = 404
SUCCESS = 2  # first digit of an HTTP status
TIMEOUT = 30  # seconds for the removal of an instance
AGAIN = "run the command again"


@dataclass(frozen=True)
class Instance:
    """Study, series and SOPInstanceUID of an object. name: the name of its file."""

    study: str
    series: str
    uid: str
    name: str


class Storing:
    """Stores objects on one server.

    Parameters
    ----------
    address : WebAddress
        The server.
    client : DICOMwebClient
        The client of the server.
    session : requests.Session
        The session of the client.
    """

    def __init__(self, address: WebAddress, client: Any, session: Any):
        self.address, self._client, self._session = address, client, session
        client.set_chunk_size(ONE_PIECE)

    def store(self, files: Sequence[Path]) -> int:
        """Stores files in their order, checks that the server lists each of them, and returns their number.

        Storing an instance that the server already has changes nothing. After each instance, a search checks that it
        was stored, because Orthanc with a full disk has accepted instances without storing them. A single request for
        all instances would not avoid partial storage, because servers store its parts one by one.

        Raises
        ------
        InputError
            Wrong credentials, or refused or missing instances. The message states whether the stored instances were
            removed, and names those that were not.
        OutOfReachError
            The server does not respond.
        """
        instances = [_instance(path) for path in files]
        earlier = self._listed(instances)  # stored by an earlier run; these are never removed
        attempted: list[Instance] = []
        try:
            for path, instance in zip(files, instances, strict=True):
                attempted.append(instance)
                self._send(path, instance)
            count = len(files) - len(self._missing(instances))
            check(
                count == len(files),
                f"{self.address} must list all objects that it accepted, got {count} of {len(files)}: check its log "
                "and free space",
            )
        except InputError as error:
            outcome = self._outcome(instances, earlier, attempted)
            raise type(error)(f"{error} ({outcome})") from error
        return len(files)

    def _send(self, path: Path, instance: Instance) -> None:
        from pydicom import dcmread

        with one_line(self.address, path.name, storing=True):
            answer = self._client.store_instances([dcmread(path)])
        for item in answer.get("FailedSOPSequence") or []:
            reason = int(item.get("FailureReason", 0))
            raise InputError(f"{self.address} refused {path.name} with failure 0x{reason:04X}")
        text = f"{self.address} accepted {path.name} but did not store it: check its log and free space"
        check(not self._missing([instance]), text)

    def _outcome(self, instances: Sequence[Instance], earlier: set[str], attempted: Sequence[Instance]) -> str:
        """Removes the instances that this call has stored, and describes which instances remain stored."""
        try:
            listed = self._listed(attempted)
        except InputError:  # the last search failed; all objects but the last one had been listed before
            listed = {instance.uid for instance in attempted[:-1]}
        stored = [instance for instance in attempted if instance.uid in listed - earlier]
        remaining = [instance for instance in stored if not self._removed(instance)]
        if not remaining:
            objects = "object of this run was" if len(stored) == 1 else "objects of this run were"
            done = f"{len(stored)} {objects} removed, " if stored else ""
            return f"{done}{len(earlier)} of {len(instances)} objects are stored; {AGAIN}"
        names = ", ".join(instance.name for instance in remaining)
        count = f"{len(remaining) + len(earlier)} of {len(instances)} objects are stored"
        return f"{count}, because the server did not remove {names}; {AGAIN} for the others"

    def _removed(self, instance: Instance) -> bool:
        """Removes an instance, by DELETE or by the REST interface of Orthanc, and returns whether it was removed."""
        import requests

        url = f"{self.address.url}/studies/{instance.study}/series/{instance.series}/instances/{instance.uid}"
        orthanc = self.address.url.rpartition("/")[0]
        try:
            if self._session.delete(url, timeout=TIMEOUT).status_code // 100 == SUCCESS:
                return instance.uid not in self._listed([instance])
            found = self._session.post(f"{orthanc}/tools/lookup", data=instance.uid, timeout=TIMEOUT).json()
            paths = [item["Path"] for item in found if item["Type"] == "Instance"]
            for path in paths:
                self._session.delete(f"{orthanc}{path}", timeout=TIMEOUT)
            return bool(paths) and instance.uid not in self._listed([instance])
        except (requests.RequestException, InputError, ValueError, KeyError, TypeError):  # neither interface works
            return False

    def _listed(self, instances: Iterable[Instance]) -> set[str]:
        """The SOPInstanceUIDs of the given instances that the server lists."""
        import requests

        wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
        for instance in instances:
            wanted[instance.study, instance.series].add(instance.uid)
        listed: set[str] = set()
        with one_line(self.address, "the list of stored objects", storing=True):
            for (study, series), uids in wanted.items():
                search = partial(self._client.search_for_instances, study, series)
                try:
                    listed |= uids & set(all_pages(search, INSTANCE))
                except requests.HTTPError as error:  # some servers answer 404 for a series without instances
                    if error.response is None or error.response.status_code != GONE:
                        raise
        return listed

    def _missing(self, instances: Sequence[Instance]) -> set[str]:
        """The SOPInstanceUIDs that the server does not list after several attempts."""
        missing: set[str] = set()
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE)
            missing = {instance.uid for instance in instances} - self._listed(instances)
            if not missing:
                break
        return missing


def _instance(path: Path) -> Instance:
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True)
    return Instance(str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.SOPInstanceUID), path.name)
