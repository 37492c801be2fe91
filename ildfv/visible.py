"""Text from files, tags and names, made safe to print: nothing in it can move the cursor or reorder the line."""

from __future__ import annotations

import unicodedata

# Control characters, format characters (bidirectional marks, zero widths), line and paragraph separators.
HIDDEN = frozenset({"Cc", "Cf", "Zl", "Zp"})


def visible(text: str, keep: str = "") -> str:
    """`text` with control characters, escape sequences and bidirectional marks as escapes, such as \\x1b and \\u202e.

    Characters in `keep`, such as the newlines of a table's cell, stay. All other text stays as it is, in any script.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or unicodedata.category(c) not in HIDDEN else _escaped(c) for c in text)


def visible_json(text: str) -> str:
    """A JSON document with the same characters as JSON escapes: it parses to the same values.

    JSON itself escapes control characters below 32 only.
    """
    if text.isascii() and "\x7f" not in text:
        return text
    hidden = {c for c in set(text) if c != "\n" and unicodedata.category(c) in HIDDEN}
    return text.translate({ord(c): _json_escape(c) for c in hidden})


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
