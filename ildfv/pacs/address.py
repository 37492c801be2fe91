"""Addresses of a PACS, as accepted by `ildfv predict`.

dicomweb://host[:port]/path/studies/UID[/series/UID]   a study or series on a DICOMweb server: a scan
dicomweb://host[:port]/path                            a DICOMweb server: a destination
dicom://AET@host:port                                  an application entity that accepts C-STORE: a destination

dicomweb:// is HTTPS, except on this machine (localhost, 127.0.0.1, [::1]), where it is HTTP. http:// and https:// name
the protocol explicitly.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from ildfv.errors import InputError, check

UID = re.compile(r"[0-9.]{1,64}")
RESOURCE = re.compile(r"(?P<base>.*?)/studies/(?P<study>[^/]+)(/series/(?P<series>[^/]+))?")
WEB = ("dicomweb", "http", "https")
MAX_AET = 16  # characters


@dataclass(frozen=True)
class WebAddress:
    """A DICOMweb server by the URL of its service, and a study or series on it."""

    url: str
    study: str | None = None
    series: str | None = None

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class EntityAddress:
    """An application entity of the DICOM network protocol."""

    title: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"dicom://{self.title}@{self.host}:{self.port}"


def is_address(text: str) -> bool:
    """Whether an argument is the address of a PACS, not a path."""
    return text.partition("://")[0] in (*WEB, "dicom") and "://" in text


def parsed(text: str) -> WebAddress | EntityAddress:
    """The parsed address. InputError: it is invalid; the message does not repeat credentials."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InputError(f"the address of a PACS must be a valid URL: {error}") from error
    if parts.scheme == "dicom":
        return _entity(parts, port)
    check(
        parts.username is None and parts.password is None,
        "the address of a PACS must not contain credentials: set ILDFV_PACS_USER and ILDFV_PACS_PASSWORD instead",
    )
    check(bool(parts.hostname), f"{text} must contain a host name, got none")
    check(not (parts.query or parts.fragment), f"{text} must end after the path, got a query or a fragment")
    found = RESOURCE.fullmatch(parts.path.rstrip("/"))
    base = parts.path.rstrip("/") if found is None else found["base"]
    url = f"{_protocol(parts)}://{parts.netloc}{base}"
    if found is None:
        check("/studies" not in parts.path, f"{text} must end with /studies/UID or /studies/UID/series/UID")
        return WebAddress(url)
    for uid in filter(None, (found["study"], found["series"])):
        check(UID.fullmatch(uid) is not None, f"a UID must have at most 64 digits and dots, got {uid}")
    return WebAddress(url, found["study"], found["series"])


def _protocol(parts: SplitResult) -> str:
    if parts.scheme != "dicomweb":
        return parts.scheme
    return "http" if is_loopback(parts.hostname or "") else "https"


def is_loopback(host: str) -> bool:
    """Whether a host name denotes this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _entity(parts: SplitResult, port: int | None) -> EntityAddress:
    title, host = parts.username or "", parts.hostname or ""
    rule = "the address of an application entity must be dicom://AET@host:port"
    check(parts.password is None, f"{rule}, without a password")
    check(bool(title and host and port) and not parts.path.strip("/"), f"{rule}, got {parts.geturl()}")
    check(
        len(title) <= MAX_AET, f"the AET in dicom://AET@host:port must have at most {MAX_AET} characters, got {title}"
    )
    assert port is not None  # checked above
    return EntityAddress(title, host, port)
