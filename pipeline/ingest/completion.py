"""What the collector adds to an event: the batch's own fields, the call of its path, and, for browsers, where it came from.

Source of the rules: reference tracking-api §2 (envelope, headers) and §9 (IP).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Envelope(NamedTuple):
    """What a batch says about all of its events.

    Attributes:
        context: The batch's `context`, or None.
        integrations: The batch's `integrations`, or None.
        sent_at: The batch's `sentAt`, else the SentAt header, else empty.
    """

    context: dict[str, Any] | None = None
    integrations: dict[str, Any] | None = None
    sent_at: str = ""


class Sender(NamedTuple):
    """The client on the other end of the connection.

    Attributes:
        browser: Whether it is a web page: it sent an Origin header.
        ip: Its address, without port.
        user_agent: Its User-Agent header, or empty.
    """

    browser: bool = False
    ip: str = ""
    user_agent: str = ""


def envelope_of(batch: dict[str, Any], sent_at_header: str | None) -> Envelope:
    """Read the envelope of a batch.

    Args:
        batch: The body of a batch request.
        sent_at_header: Value of the SentAt header.

    Returns:
        The envelope; members of a wrong type count as absent.
    """
    context = batch.get("context")
    integrations = batch.get("integrations")
    sent_at = batch.get("sentAt")
    return Envelope(
        context if context.__class__ is dict and context else None,
        integrations if integrations.__class__ is dict and integrations else None,
        sent_at if sent_at.__class__ is str and sent_at else sent_at_header or "",
    )


def completed(item: dict[str, Any], call: str, envelope: Envelope) -> dict[str, Any]:
    """Merge the envelope and the path's call into an event; what the event itself says wins.

    Args:
        item: The event as it was sent; left as it is.
        call: Type for an event that names none, or empty.
        envelope: The batch's envelope.

    Returns:
        A new event.
    """
    body = item.copy()
    if call and body.get("type") is None:
        body["type"] = call
    if envelope.sent_at and not body.get("sentAt"):
        body["sentAt"] = envelope.sent_at
    if envelope.context is not None:
        _merge(body, "context", envelope.context)
    if envelope.integrations is not None:
        _merge(body, "integrations", envelope.integrations)
    return body


def _merge(body: dict[str, Any], name: str, shared: dict[str, Any]) -> None:
    own = body.get(name)
    if own is None:
        body[name] = shared
    elif own.__class__ is dict:
        body[name] = {**shared, **own}


def place(body: dict[str, Any], sender: Sender) -> None:
    """Fill in where a client-side event came from, where the event doesn't say it.

    The address goes into events of web pages and of servers that ask for it (`context.direct`), the user agent into those of web
    pages only: a server's own is not its user's.

    Args:
        body: The completed event; changed.
        sender: The client.
    """
    context = body.get("context")
    if context is None:
        context = {}
    elif context.__class__ is not dict:
        return
    filled: dict[str, Any] = {}
    if sender.ip and context.get("ip") is None and (sender.browser or context.get("direct") is True):
        filled["ip"] = sender.ip
    if sender.browser and sender.user_agent and context.get("userAgent") is None:
        filled["userAgent"] = sender.user_agent
    if filled:
        body["context"] = {**context, **filled}
