"""A request as it is sent: read from its record, secrets filled in, signed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from pipeline.deliver.signature import sign
from pipeline.model.json_text import decode, encode
from pipeline.ports.http import Request

_BEFORE_ID: Final = b'{"id":"'
_BEFORE_HEAD: Final = b'",'
_BEFORE_BODY: Final = b',"body":'
_PLACEHOLDER: Final = re.compile(r"(\$+)\{secret:(?:([A-Za-z0-9_.-]+)\})?")


class MissingSecret(Exception):
    """A placeholder names a secret that the destination does not have; the message is its name."""


class Item(NamedTuple):
    """A rendered request as it stands in its topic, secrets as placeholders."""

    id: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def read_item(value: bytes) -> Item:
    """Read the value of a record of `requests.<destination>`.

    Args:
        value: JSON with `id`, `method`, `url`, `headers` and `body`.

    Returns:
        The request; its body has the same bytes each time the record is read.

    Raises:
        ValueError: The value is not such JSON.
    """
    return _as_written(value) or _parsed(value)


def _as_written(value: bytes) -> Item | None:
    """Take apart what translate wrote: the body is last, and all before it but the id is the same for every event of a mapping."""
    ends = value.find(_BEFORE_HEAD, len(_BEFORE_ID))
    head_ends = value.find(_BEFORE_BODY, ends)
    if ends < 0 or head_ends < 0 or not value.startswith(_BEFORE_ID) or not value.endswith(b"}"):
        return None
    ident = value[len(_BEFORE_ID) : ends].decode("latin-1")
    if not ident.isascii() or not ident.isprintable() or '"' in ident or "\\" in ident:
        return None  # written with escapes, or no JSON
    head = _head(value[ends + len(_BEFORE_HEAD) : head_ends])
    return None if head is None else Item(ident, *head, value[head_ends + len(_BEFORE_BODY) : -1])


def _parsed(value: bytes) -> Item:
    parsed = decode(value)[0]
    try:
        return Item(str(parsed["id"]), str(parsed["method"]), str(parsed["url"]), dict(parsed["headers"]), encode(parsed["body"]))
    except (KeyError, TypeError) as error:
        reason = f"not a request: {type(error).__name__}"
        raise ValueError(reason) from None


@lru_cache(maxsize=4096)
def _head(text: bytes) -> tuple[str, str, dict[str, str]] | None:
    """Read what lies between id and body; None where it is not what translate writes."""
    try:
        parsed = orjson.loads(b"{" + text + b"}")
        if list(parsed) == ["method", "url", "headers"]:
            return str(parsed["method"]), str(parsed["url"]), dict(parsed["headers"])
    except (ValueError, TypeError):
        pass
    return None


def fill(text: str, secrets: Mapping[str, str], *, in_json: bool = False) -> str:
    """Put secrets into a text.

    `${secret:NAME}` becomes the secret; `$${secret:` is text of an event, which translate marked with one more `$`,
    and loses it again.

    Args:
        text: Text with placeholders.
        secrets: Secrets by name.
        in_json: Whether the text is JSON, so that secrets are written as JSON writes them.

    Returns:
        The text.

    Raises:
        MissingSecret: A secret is not there.
    """

    def filled(found: re.Match[str]) -> str:
        marks, name = found.group(1), found.group(2)
        if len(marks) > 1 or name is None:
            return found.group(0)[1:] if len(marks) > 1 else found.group(0)
        if name not in secrets:
            raise MissingSecret(name)
        return orjson.dumps(secrets[name])[1:-1].decode() if in_json else secrets[name]

    return _PLACEHOLDER.sub(filled, text)


def to_send(item: Item, *, secrets: Mapping[str, str], signing_secret: str, signed: bool, now_ms: int, timeout_seconds: float) -> Request:
    """Make the request that goes over the wire.

    Args:
        item: The rendered request.
        secrets: The destination's secrets by placeholder name.
        signing_secret: Name of the secret that signs, or empty.
        signed: Whether the destination's type sends the headers of Standard Webhooks.
        now_ms: Wall time in milliseconds since the epoch.
        timeout_seconds: Deadline.

    Returns:
        The request. Id and body are the same at every try; time and signature are not.

    Raises:
        MissingSecret: A secret is not there.
        ValueError: The signing secret cannot be read.
    """
    body, url, headers = item.body, item.url, item.headers
    if b"${secret:" in body:
        body = fill(body.decode(), secrets, in_json=True).encode()
    if "${secret:" in url:
        url = fill(url, secrets)
    headers = {name: fill(text, secrets) if "${secret:" in text else text for name, text in headers.items()}
    if signed:
        seconds = now_ms // 1000
        headers["webhook-id"] = item.id
        headers["webhook-timestamp"] = str(seconds)
        if signing_secret in secrets:
            headers["webhook-signature"] = sign(secrets[signing_secret], item.id, seconds, body)
    return Request(item.method, url, headers, body, timeout_seconds)
