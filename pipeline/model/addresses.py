"""IP addresses that name a network and no longer a person."""

from __future__ import annotations

import ipaddress
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_ADDRESS: Final = 45
"""Characters of `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`."""
_IPV4_KEPT: Final = 0xFFFFFF00
_IPV6_KEPT: Final = ((1 << 48) - 1) << 80
_SIX_TO_FOUR_KEPT: Final = ((1 << 40) - 1) << 88
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")


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
