"""Where a request carries its write key (reference: tracking-api §2)."""

from __future__ import annotations

import binascii
from typing import Final
from urllib.parse import parse_qs

_LONGEST_HEADER: Final = 512
"""Longest Authorization header that is decoded, in characters: a write key is far shorter."""
_LONGEST_QUERY: Final = 4096
_MOST_PARAMETERS: Final = 64


def basic_key(authorization: str) -> str:
    """Read the write key from Basic credentials, with or without the colon after it.

    Args:
        authorization: Value of the Authorization header.

    Returns:
        The write key; empty where the header is of another scheme, or broken, as another system's session token may be.
    """
    if len(authorization) > _LONGEST_HEADER:
        return ""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return ""
    token = token.strip()
    try:
        text = binascii.a2b_base64(token + "=" * (-len(token) % 4)).decode("utf-8")
    except ValueError:  # also binascii.Error, UnicodeDecodeError and text that is not ASCII
        return ""
    return text.partition(":")[0]


def bearer_token(authorization: str | None) -> str:
    """Read an access token (RFC 6750 §2.1).

    Args:
        authorization: Value of the Authorization header.

    Returns:
        The token, or empty.
    """
    if authorization is None or authorization[:7].lower() != "bearer ":
        return ""
    return authorization[7:].strip()


def query_field(query: str, name: str) -> str:
    """Read one field of a query string.

    Args:
        query: The query string without its question mark.
        name: The field: `writeKey`.

    Returns:
        Its first value, or empty.
    """
    if name not in query or len(query) > _LONGEST_QUERY:
        return ""
    try:
        return parse_qs(query, max_num_fields=_MOST_PARAMETERS).get(name, [""])[0]
    except ValueError:
        return ""
