"""Identities as they leave the reader: salted hashes, never the raw id."""

from __future__ import annotations

import hashlib
import hmac

from ildfv.errors import InputError


def hashed(raw: str, salt: str) -> str:
    """16 hex digits: HMAC-SHA256 of the raw id under the workspace's salt. Without the salt it cannot be looked up."""
    if not raw.strip():
        raise InputError("an id must not be empty, got ''")
    return hmac.new(salt.encode(), raw.strip().encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:16]
