"""Pseudonyms of patients and series: salted hashes of the raw identifiers."""

from __future__ import annotations

import hashlib
import hmac

from ildfv.errors import InputError


def hashed(raw: str, salt: str) -> str:
    """16 hex digits of HMAC-SHA256(salt, raw id). Without the salt nobody can test a guessed id against them."""
    if not raw.strip():
        raise InputError("an id must not be empty, got ''")
    return hmac.new(salt.encode(), raw.strip().encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:16]
