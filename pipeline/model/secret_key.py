"""Secrets after Standard Webhooks: `whsec_` and base64."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

PREFIX = "whsec_"


@lru_cache(maxsize=1024)
def signing_key(secret: str) -> bytes:
    """Read a secret.

    Args:
        secret: `whsec_` and base64 (padding may be missing), or any other text.

    Returns:
        The key: what the base64 stands for, or the text's bytes.

    Raises:
        ValueError: What follows `whsec_` is no base64; does not repeat it.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    text = secret.removeprefix(PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        reason = "the secret starts with whsec_, but base64 does not follow"
        raise ValueError(reason) from None
