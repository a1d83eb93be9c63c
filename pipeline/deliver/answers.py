"""What is kept of an answer: its first 1 KB, without secrets."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from urllib.parse import quote

from pipeline.model.limits import ANSWER_BYTES
from pipeline.model.secret_key import PREFIX

MASK = "***"


def forms_to_mask(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Give every form in which an answer could repeat a secret, longest first.

    Args:
        secrets: Secrets.

    Returns:
        The secret as it is, percent-encoded, in base64, and without the prefix of Standard Webhooks.
    """
    forms: set[bytes] = set()
    for secret in secrets:
        for text in (secret, secret.removeprefix(PREFIX)):
            if text:
                forms |= {text.encode(), quote(text, safe="").encode(), base64.b64encode(text.encode())}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


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
    return text if len(text.encode()) <= ANSWER_BYTES else text.encode()[:ANSWER_BYTES].decode("utf-8", "ignore")
