"""Writes ``test-city.mmdb``, a City database of invented places over documentation addresses (RFC 5737, RFC 3849).

Run it after a change to `NETWORKS`; a test says when the file is stale. It writes the part of the MaxMind DB file format
2.0 (maxmind.github.io/MaxMind-DB) that such a file needs: maps, lists, texts, doubles and whole numbers; 24-bit records.
"""

import ipaddress
import struct
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("test-city.mmdb")

RIVERTON: dict[str, Any] = {
    "city": {"names": {"en": "Riverton", "fr": "Rivière"}},
    "country": {"iso_code": "XA", "names": {"en": "Exampleland"}},
    "location": {"latitude": 12.5, "longitude": -45.25, "time_zone": "Etc/GMT+3"},
    "subdivisions": [{"iso_code": "NO", "names": {"en": "North"}}],
}
COUNTRY_ONLY: dict[str, Any] = {"country": {"iso_code": "XB", "names": {"en": "Samplia"}}}
LAKESIDE: dict[str, Any] = {
    "city": {"names": {"en": "Lakeside"}},
    "country": {"iso_code": "XC", "names": {"en": "Demoria"}},
    "location": {"latitude": 0.0, "longitude": 100.0, "time_zone": "Etc/UTC"},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "203.0.113.0/24": RIVERTON,
    "198.51.100.0/24": COUNTRY_ONLY,
    "2001:db8:1::/48": LAKESIDE,
}

_METADATA_MARKER = b"\xab\xcd\xefMaxMind.com"
_DATA_SEPARATOR = bytes(16)
_TEXT, _DOUBLE, _UINT16, _UINT32, _MAP, _UINT64, _LIST = 2, 3, 5, 6, 7, 9, 11


def city_database() -> bytes:
    """Write the database of `NETWORKS` as the bytes of ``test-city.mmdb``."""
    return write_database(NETWORKS, database_type="Headrace-Test-City", ip_version=6)


def write_database(networks: dict[str, dict[str, Any]], *, database_type: str, ip_version: int) -> bytes:
    """Write a MaxMind database.

    Args:
        networks: Records by network in CIDR form, not overlapping; IPv4 networks lie under ``::/96`` in an IPv6 tree.
        database_type: Such as ``GeoLite2-City``.
        ip_version: 4 or 6.

    Returns:
        The file's bytes; the same input gives the same bytes.

    """
    data = bytearray()
    tree: list[list[int | None]] = [[None, None]]
    leaves: dict[tuple[int, int], int] = {}
    for text, record in networks.items():
        offset = len(data)
        data += _encode(record)
        bits = _bits(text, ip_version)
        node = 0
        for bit in bits[:-1]:
            following = tree[node][bit]
            if following is None:
                tree.append([None, None])
                following = len(tree) - 1
                tree[node][bit] = following
            node = following
        leaves[node, bits[-1]] = offset

    nodes = bytearray()
    for number, pair in enumerate(tree):
        for side, following in enumerate(pair):
            value = len(tree) if following is None else following
            if (number, side) in leaves:
                value = len(tree) + len(_DATA_SEPARATOR) + leaves[number, side]
            nodes += value.to_bytes(3, "big")

    metadata = _metadata(len(tree), database_type, ip_version)

    return bytes(nodes) + _DATA_SEPARATOR + bytes(data) + _METADATA_MARKER + metadata


def _metadata(node_count: int, database_type: str, ip_version: int) -> bytes:
    """Encode the metadata map; its numbers have the widths that the format asks for."""
    numbers = [
        ("node_count", _UINT32, node_count),
        ("record_size", _UINT16, 24),
        ("ip_version", _UINT16, ip_version),
        ("binary_format_major_version", _UINT16, 2),
        ("binary_format_minor_version", _UINT16, 0),
        ("build_epoch", _UINT64, 1_700_000_000),
    ]
    encoded = _control(_MAP, len(numbers) + 3)
    for name, kind, number in numbers:
        encoded += _encode(name) + _number(kind, number)
    encoded += _encode("database_type") + _encode(database_type)
    encoded += _encode("languages") + _encode(["en"])
    encoded += _encode("description") + _encode({"en": "Invented places over documentation addresses"})

    return encoded


def _bits(text: str, ip_version: int) -> list[int]:
    """Spell a network's prefix as bits, the highest first."""
    network = ipaddress.ip_network(text)
    width = network.max_prefixlen
    number = int(network.network_address)
    bits = [(number >> (width - 1 - place)) & 1 for place in range(network.prefixlen)]

    return [0] * 96 + bits if network.version < ip_version else bits


def _encode(value: object) -> bytes:
    """Encode a map, list, text or double."""
    if isinstance(value, dict):
        return _control(_MAP, len(value)) + b"".join(_encode(name) + _encode(entry) for name, entry in value.items())
    if isinstance(value, list):
        return _control(_LIST, len(value)) + b"".join(_encode(entry) for entry in value)
    if isinstance(value, float):
        return _control(_DOUBLE, 8) + struct.pack(">d", value)
    text = str(value).encode()

    return _control(_TEXT, len(text)) + text


def _number(kind: int, number: int) -> bytes:
    """Encode an unsigned whole number in as few bytes as hold it."""
    encoded = number.to_bytes((number.bit_length() + 7) // 8, "big")

    return _control(kind, len(encoded)) + encoded


def _control(kind: int, size: int) -> bytes:
    """Encode the control bytes of a field: its type, and its size below 285."""
    extended = b"" if kind <= _MAP else bytes([kind - 7])
    first = 0 if extended else kind << 5
    if size < 29:
        return bytes([first | size]) + extended

    return bytes([first | 29]) + extended + bytes([size - 29])


if __name__ == "__main__":
    FILE.write_bytes(city_database())
