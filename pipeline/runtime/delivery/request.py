"""Makes the request that goes out for what was rendered: with the secrets and the signature of this moment."""

from __future__ import annotations

from pipeline.deliver.sending import Item, MissingSecret, to_send
from pipeline.ports.http import Request
from pipeline.runtime.delivery.lane import DeliverySettings


def request_of(item: Item, settings: DeliverySettings, now_ms: int) -> Request | None:
    """Make the request that is sent.

    Args:
        item: What was rendered.
        settings: The destination.
        now_ms: Wall time in milliseconds since the epoch, for the signature.

    Returns:
        The request, or None where a secret is missing: then nothing goes out, not even unsigned.
    """
    signing = settings.type.signing_secret
    if signing in settings.missing:
        return None
    try:
        return to_send(
            item,
            secrets=settings.secrets,
            signing_secret=signing,
            signed=bool(signing),
            now_ms=now_ms,
            timeout_seconds=settings.type.timeout_seconds,
        )
    except (MissingSecret, ValueError):
        return None
