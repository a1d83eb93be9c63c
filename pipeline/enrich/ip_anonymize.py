"""Shortening of IP addresses, so that they name a network and no longer a person."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

__all__ = ["IpAnonymizeSettings", "anonymize_ip", "create_ip_anonymize"]

_LONGEST_ADDRESS = 45  # ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255
_IPV4_KEPT = 0xFFFFFF00
_IPV6_KEPT = ((1 << 48) - 1) << 80
_SIX_TO_FOUR_KEPT = ((1 << 40) - 1) << 88
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")


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
        A function over a normalised event, which it changes in place; it never raises.

    """
    if not settings.enabled:
        return _leave

    anonymize = lru_cache(maxsize=settings.cache_size)(anonymize_ip)

    def enrich_ip_anonymize(message: dict[str, Any]) -> None:
        context = message.get("context")
        if type(context) is not dict:
            return
        ip = context.get("ip")
        if ip is None:
            return

        shortened = anonymize(ip) if type(ip) is str and len(ip) <= _LONGEST_ADDRESS else None
        if shortened is None:
            del context["ip"]
        else:
            context["ip"] = shortened

    return enrich_ip_anonymize


def anonymize_ip(ip: str) -> str | None:
    """Zero the last octet of an IPv4 address, and all but the first 48 bits of an IPv6 address.

    An IPv4-mapped IPv6 address is shortened as the IPv4 address in it; of a 6to4 address (RFC 3056), whose first 48
    bits hold a whole IPv4 address, 40 bits are kept.

    Args:
        ip: Any text.

    Returns:
        The shortened address; None where the text is no address.

    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return None

    if isinstance(address, ipaddress.IPv4Address):
        return _shorten_ipv4(address)
    if address.ipv4_mapped is not None:
        # By hand: Python prints such addresses differently before and from 3.13 on.
        return f"::ffff:{_shorten_ipv4(address.ipv4_mapped)}"
    kept = _SIX_TO_FOUR_KEPT if address in _SIX_TO_FOUR else _IPV6_KEPT

    return str(ipaddress.IPv6Address(int(address) & kept))


def _shorten_ipv4(address: ipaddress.IPv4Address) -> str:
    """Zero the last octet."""
    return str(ipaddress.IPv4Address(int(address) & _IPV4_KEPT))


def _leave(message: dict[str, Any]) -> None:
    """Leave an event as it is: the enrichment of a source whose switch is off."""
