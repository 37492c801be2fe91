"""C-STORE to an application entity, for a PACS without DICOMweb."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ildfv.errors import InputError, OutOfReachError, check
from ildfv.pacs.address import MAX_AET, EntityAddress

TITLE = "ILDFV_AET"  # environment variable with the calling AE title, which many servers check
OURS = "ILDFV"  # the calling AE title by default
SECONDS = 30  # timeout of every response
SUCCESS, WARNINGS, RESOURCES = 0x0000, (0xB000, 0xB006, 0xB007), 0xA700  # C-STORE statuses; 0xA7xx: out of resources


class Entity:
    """An application entity that accepts C-STORE."""

    def __init__(self, address: EntityAddress):
        self.address = address

    def store(self, files: Sequence[Path]) -> int:
        """Stores files in their order and returns their number.

        The transfer syntax of every file is proposed unchanged, and nothing is sent unless the application entity
        accepts all of them.

        Raises
        ------
        InputError
            ILDFV_AET is not a valid title, or the association, a transfer syntax or an object is refused. If an object
            is refused, the message states how many objects are stored.
        OutOfReachError
            The application entity does not respond.
        """
        from pynetdicom import AE

        title = os.environ.get(TITLE, OURS)
        check(0 < len(title) <= MAX_AET, f"{TITLE} must have 1 to {MAX_AET} characters, got {len(title)}")
        entity = AE(ae_title=title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = SECONDS
        kinds = {path: _kind(path) for path in files}
        for kind, syntax in sorted(set(kinds.values())):
            entity.add_requested_context(kind, syntax)
        association, is_rejected = self._associate(entity)
        if is_rejected:
            raise InputError(
                f"{self.address} rejected the association: check its AE title, and that it accepts the calling AE "
                f"title {title}, which {TITLE} sets"
            )
        if not association.is_established:
            raise OutOfReachError(f"{self.address} must be reachable, got no association: check host and port")
        try:
            accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts}
            for kind, syntax in kinds.values():
                if (kind, syntax) not in accepted:
                    raise InputError(
                        f"{self.address} does not accept {_name(kind)} in {_name(syntax)}: nothing was sent"
                    )
            for i, path in enumerate(files):
                self._send(association, path, i, len(files))
        finally:
            if association.is_established:
                association.release()
        return len(files)

    def _associate(self, entity):
        """The association, and whether the other side rejected it.

        A handler looks for a rejection among the received PDUs. `Association.is_rejected` is not used, because it stays
        False if the connection closes before pynetdicom checks it, which occurs on a busy machine.
        """
        from pynetdicom import evt
        from pynetdicom.pdu import A_ASSOCIATE_RJ

        rejections = []

        def received(event) -> None:
            if isinstance(event.pdu, A_ASSOCIATE_RJ):
                rejections.append(event.pdu)

        host, port, title = self.address.host, self.address.port, self.address.title
        association = entity.associate(host, port, ae_title=title, evt_handlers=[(evt.EVT_PDU_RECV, received)])
        return association, bool(rejections)

    def _send(self, association, path: Path, stored: int, of: int) -> None:
        outcome = f"({progress_text(stored, of)})"
        status = association.send_c_store(path).get("Status")
        if status is None:
            raise OutOfReachError(f"{self.address} must be reachable, got a closed connection {outcome}")
        if status != SUCCESS and status not in WARNINGS:
            why = ", out of resources" if status & 0xFF00 == RESOURCES else ""
            raise InputError(f"{self.address} refused {path.name} with status 0x{status:04X}{why} {outcome}")


def progress_text(stored: int, of: int) -> str:
    """The number of stored objects, and the remedy if any is stored."""
    return f"{stored} of {of} objects are stored" + ("; run the command again for the others" if stored else "")


def _kind(path: Path) -> tuple[str, str]:
    """SOP class and transfer syntax of a file."""
    from pydicom.filereader import read_file_meta_info

    meta = read_file_meta_info(path)
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)


def _name(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name
