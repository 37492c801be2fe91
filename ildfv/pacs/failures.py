"""One-line errors for failed requests to a DICOMweb server."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from ildfv.errors import InputError, OutOfReachError
from ildfv.pacs.address import WebAddress
from ildfv.pacs.credentials import PASSWORD, TOKEN, USER
from ildfv.scans.libraries import quiet

NOT_ALLOWED, MISSING = (401, 403), 404


@contextmanager
def one_line(address: WebAddress, what: str, *, storing: bool = False) -> Iterator[None]:
    """Context manager: converts errors of a request to one-line errors. No message contains credentials.

    what: what is requested or stored, for the messages. storing: whether the request stores objects. OutOfReachError:
    the server does not respond. InputError: the server refuses the request or its response is invalid.
    """
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
        if code == MISSING and not storing:
            raise InputError(f"{address} has no {what} (HTTP 404)") from None
        raise InputError(f"{address} refused {what} with HTTP {code}{_failure(error.response)}") from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise OutOfReachError(f"{address} must be reachable, got {_reason(error)}") from None
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise InputError(f"{address} must be a DICOMweb server, got {type(error).__name__}") from None
        raise InputError(f"{error.filename or what}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, EOFError, struct.error, InvalidDicomError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{address} must be a DICOMweb server, got an invalid response for {what}") from error


def _failure(response) -> str:
    """The failure reason in the response of a server that refused an object, or "" if there is none."""
    from pydicom import Dataset

    try:
        failed = Dataset.from_json(response.json()).FailedSOPSequence
        return f" and failure 0x{int(failed[0].FailureReason):04X}"
    except Exception:  # servers report errors as HTML, text or various JSON formats
        return ""


def _reason(error: Exception) -> str:
    """The innermost reason of a failed connection, without the URL, which the message already contains."""
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
