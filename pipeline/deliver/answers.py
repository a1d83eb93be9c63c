"""What is kept of an answer: its first 1 KB, without secrets."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from pipeline.model.limits import ANSWER_BYTES
from pipeline.model.secret_key import PREFIX

MASK = "***"
_PART_CHARACTERS_LEAST: Final = 8
"""Shortest part of a secret that is taken for one by itself: `hook` in an address is a word."""


def forms_to_mask(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Give every form in which an answer could repeat a secret, longest first.

    Args:
        secrets: Secrets.

    Returns:
        The secret as it is, percent-encoded, in base64, and without the prefix of Standard Webhooks; of an address also what a tool sees of it, its
        path with its query, and the longer parts of both; of a header's value also what follows its scheme.
    """
    forms: set[bytes] = set()
    for secret in secrets:
        for text in (secret, secret.removeprefix(PREFIX), *_parts(secret)):
            if text:
                forms |= {text.encode(), quote(text, safe="").encode(), base64.b64encode(text.encode())}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _parts(secret: str) -> Iterator[str]:
    """Give what a tool could repeat of a secret without the rest of it."""
    if not secret.startswith(("http://", "https://")):
        scheme, _, credentials = secret.partition(" ")
        yield from (credentials,) if scheme.isalpha() and len(credentials) >= _PART_CHARACTERS_LEAST else ()
        return
    try:
        address = urlsplit(secret)
    except ValueError:  # no address: it is masked as a whole
        return
    target = f"{address.path}?{address.query}" if address.query else address.path
    values = [value for _, value in parse_qsl(address.query)]
    yield from (part for part in (target, address.query, *address.path.split("/"), *values) if len(part) >= _PART_CHARACTERS_LEAST)


def redacted_answer(body: bytes, masks: tuple[bytes, ...]) -> str:
    """Cut and redact the body of an answer.

    Args:
        body: The first bytes of the body.
        masks: What `forms_to_mask` gave.

    Returns:
        Text of at most 1 KB of UTF-8, in which `***` stands for each secret.
    """
    if not body:
        return ""
    # Mask before the cut, over as much as a secret that begins before the cut can reach.
    reach = body[: ANSWER_BYTES + (len(masks[0]) if masks else 0)]
    for form in masks:
        reach = reach.replace(form, MASK.encode())
    text = reach[:ANSWER_BYTES].decode("utf-8", "replace")
    return text if text.isascii() or len(text.encode()) <= ANSWER_BYTES else text.encode()[:ANSWER_BYTES].decode("utf-8", "ignore")
