"""Which addresses a request may go to: none inside our own network, unless the operator says so (source: OWASP, SSRF prevention)."""

from __future__ import annotations

import ipaddress
from typing import Final

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Say whether an address belongs to the public internet.

    Args:
        address: IPv4 or IPv6 address as text, as a resolver gave it.

    Returns:
        False for loopback, private, link-local, shared, multicast, unspecified and reserved addresses, also where one is
        wrapped into IPv6 (mapped, 6to4, Teredo, NAT64), and for what is no address.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast
