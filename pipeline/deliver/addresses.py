"""Which addresses a request may go to: none inside our own network, unless the operator says so (source: OWASP, SSRF prevention)."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def leads_inside(host: str) -> bool:
    """Say whether a URL's host is known to lie inside our own network without asking a resolver.

    Args:
        host: Name or address as a URL has it, an IPv6 address without its brackets.

    Returns:
        True for `localhost` and for an address that is not public, in any spelling that the C library takes (`127.1`, `0x7f000001`).
        False for every other name: where it leads is known when a connection is made.
    """
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if ":" not in name:
        try:
            name = socket.inet_ntoa(socket.inet_aton(name))
        except (OSError, UnicodeError):
            return False
    return not is_public(name)


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
