"""Shortening of IP addresses, so that they name a network and no longer a person."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pipeline.model.addresses import LONGEST_ADDRESS, anonymize_ip

__all__ = ["IpAnonymizeSettings", "create_ip_anonymize"]


@dataclass(frozen=True, slots=True)
class IpAnonymizeSettings:
    """Settings of the enrichment ``ip_anonymize``.

    Attributes:
        enabled: The switch of a source; off leaves every address as it came.
        cache_size: How many distinct addresses are remembered, about 0.3 KB each.

    """

    enabled: bool = True
    cache_size: int = 16384


def create_ip_anonymize(settings: IpAnonymizeSettings) -> Callable[[dict[str, Any]], None]:
    """Create the enrichment that shortens ``context.ip``; list it after ``geo``, which needs the whole address.

    The rule is Google Analytics' (IP masking in Universal Analytics): see `anonymize_ip`. It is the one enrichment that
    changes a value the client gave, which is its purpose. What is no address (a list, a forwarding chain, an address
    with its port) can still hold one, and is removed.

    Args:
        settings: See the class.

    Returns:
        A function over an event's context, which it changes in place; it never raises.

    """
    if not settings.enabled:
        return _leave

    anonymize = lru_cache(maxsize=settings.cache_size)(anonymize_ip)

    def enrich_ip_anonymize(context: dict[str, Any]) -> None:
        ip = context.get("ip")
        if ip is None:
            return

        shortened = anonymize(ip) if type(ip) is str and len(ip) <= LONGEST_ADDRESS else None
        if shortened is None:
            del context["ip"]
        else:
            context["ip"] = shortened

    return enrich_ip_anonymize


def _leave(context: dict[str, Any]) -> None:
    """Leave a context as it is: the enrichment of a source whose switch is off."""
