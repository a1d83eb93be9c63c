"""Whose address a request really came from, behind proxies that are trusted to say so."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from pipeline.model.addresses import Network


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Find the client: the right-most hop that is not a trusted proxy.

    Each proxy adds at the right whom it got the request from, so only what trusted ones added can be believed; a client may write anything
    to the left of that. Source: MDN, X-Forwarded-For, "selecting an IP address".

    Args:
        peer: Address of the other end of the connection, without port.
        forwarded: Values of all X-Forwarded-For headers, in their order.
        trusted: Networks of the trusted proxies.

    Returns:
        The address without port; empty where a trusted proxy names something that is no address.
    """
    if not _is_trusted(peer, tuple(trusted)):
        return peer
    client = peer
    for hop in reversed([part.strip() for value in forwarded for part in value.split(",")]):
        address = _without_port(hop)
        if not address:
            return ""
        client = address
        if not _is_trusted(address, tuple(trusted)):
            break
    return client


@lru_cache(maxsize=4096)
def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in trusted)


def _without_port(hop: str) -> str:
    """Give the address of `1.2.3.4`, `1.2.3.4:5678`, `::1` or `[::1]:5678`; empty for anything else."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return ""
