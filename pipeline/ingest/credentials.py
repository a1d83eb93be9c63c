"""Where a request carries its write key (reference: tracking-api §2). Of the keys that it carries, the first known one counts."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs

_LONGEST_HEADER: Final = 512
"""Longest Authorization header that is looked at, in characters: a write key is far shorter, and what is decoded is also remembered."""
_LONGEST_QUERY: Final = 4096
_MOST_PARAMETERS: Final = 64


def basic_key(authorization: str | None) -> str:
    """Read the write key from Basic credentials, with or without the colon after it.

    Args:
        authorization: Value of the Authorization header.

    Returns:
        The write key; empty where the header is absent, of another scheme, or broken, as another system's session token may be.
    """
    if authorization is None or len(authorization) > _LONGEST_HEADER:
        return ""
    return _basic_key(authorization)


@lru_cache(maxsize=4096)
def _basic_key(authorization: str) -> str:
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return ""
    token = token.strip()
    try:
        text = binascii.a2b_base64(token + "=" * (-len(token) % 4)).decode("utf-8")
    except ValueError:  # also binascii.Error, UnicodeDecodeError and text that is not ASCII
        return ""
    return text.partition(":")[0]


def query_key(query: str) -> str:
    """Read `writeKey` from a query string.

    Args:
        query: The query string without its question mark.

    Returns:
        The write key, or empty.
    """
    if "writeKey" not in query or len(query) > _LONGEST_QUERY:
        return ""
    try:
        return parse_qs(query, max_num_fields=_MOST_PARAMETERS).get("writeKey", [""])[0]
    except ValueError:
        return ""


def owner(keys: Mapping[str, str], *candidates: Any) -> str:  # noqa: ANN401 (a write key in a body may be any JSON value)
    """Find the source of the first known write key.

    Args:
        keys: Source ids by write key.
        candidates: Write keys, in the order in which they count; what is not a non-empty string is passed over.

    Returns:
        The source id, or empty where none is known.
    """
    for candidate in candidates:
        if candidate.__class__ is str and candidate:
            source = keys.get(candidate)
            if source is not None:
                return source
    return ""
