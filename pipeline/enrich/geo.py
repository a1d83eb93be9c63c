"""The place of an IP address, from a City database in MaxMind's format."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import maxminddb

from pipeline.enrich.fill import fill

__all__ = ["GeoDatabaseError", "GeoReader", "GeoSettings", "create_geo", "open_geo_reader", "read_location"]

Member = TypeVar("Member")

GeoReader = Callable[[str], Mapping[str, Any] | None]
"""Takes a valid IPv4 or IPv6 address as text and returns its City record, or None; it never raises."""

_LONGEST_ADDRESS = 45  # ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255

# Addresses inside someone's own network; a database that knows them would know nothing true.
_INSIDE = tuple(ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))


class GeoDatabaseError(ValueError):
    """A City database can't be used; the message names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class GeoSettings:
    """Settings of the enrichment ``geo``.

    Attributes:
        reader: Looks an address up; `open_geo_reader` makes one from a file.
        cache_size: How many distinct addresses are remembered, about 0.7 KB each.

    """

    reader: GeoReader
    cache_size: int = 16384


def create_geo(settings: GeoSettings) -> Callable[[dict[str, Any]], None]:
    """Create the enrichment that adds ``context.location`` where absent, from ``context.ip``.

    A location of the client that contradicts the database's (a phone's own coordinates) is left as it came. Private,
    loopback, link-local and malformed addresses have no place.

    Args:
        settings: See the class.

    Returns:
        A function over an event's context, which it changes in place; it never raises.

    """
    reader = settings.reader

    @lru_cache(maxsize=settings.cache_size)
    def locate(text: str) -> dict[str, Any] | None:
        address = _public_address(text)
        record = None if address is None else reader(address)

        return None if record is None else read_location(record)

    def enrich_geo(context: dict[str, Any]) -> None:
        ip = context.get("ip")
        if type(ip) is not str or len(ip) > _LONGEST_ADDRESS:
            return

        location = locate(ip)
        if location:
            fill(context, "location", location)

    return enrich_geo


def open_geo_reader(path: Path) -> GeoReader:
    """Open a City database of MaxMind's format (GeoLite2 City, GeoIP2 City or Enterprise, DB-IP City), memory-mapped.

    Replace the file by renaming a new one over it, never by writing into it; a running reader keeps the old one.

    Args:
        path: The ``.mmdb`` file.

    Returns:
        A look-up that answers None for what the database does not know, for IPv6 where it holds IPv4 only, and for a
        record whose bytes are damaged.

    Raises:
        GeoDatabaseError: If the file is missing, unreadable, no MaxMind database, or one without places.

    """
    try:
        database = maxminddb.open_database(path, maxminddb.MODE_AUTO)
    except FileNotFoundError:
        raise _unusable(path, "does not exist") from None
    except OSError as error:
        raise _unusable(path, f"can't be read ({error.strerror or error})") from error
    except (maxminddb.InvalidDatabaseError, ValueError) as error:
        raise _unusable(path, "is not a MaxMind database (.mmdb), or is cut short") from error

    metadata = database.metadata()
    if "City" not in metadata.database_type and "Enterprise" not in metadata.database_type:
        database.close()
        raise _unusable(path, f"holds no cities: its type is {metadata.database_type!r}")
    is_ipv4_only = metadata.ip_version == 4

    def look_up(address: str) -> Mapping[str, Any] | None:
        if is_ipv4_only and ":" in address:
            return None
        try:
            record = database.get(address)
        except maxminddb.InvalidDatabaseError:
            return None

        return record if isinstance(record, dict) else None

    return look_up


def read_location(record: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a City record into the spec's location.

    Args:
        record: As MaxMind's City databases hold it (dev.maxmind.com, GeoIP2 City schema).

    Returns:
        ``country``, ``region``, ``city`` (English names), ``country_code`` (ISO 3166-1 alpha-2), ``region_code`` (ISO
        3166-2 without the country), ``latitude``, ``longitude`` (degrees), ``timezone`` (tz name); only what is there.

    """
    country = record.get("country")
    divisions = record.get("subdivisions")
    region = divisions[0] if isinstance(divisions, list) and divisions else None
    place = record.get("location")
    found = {
        "country": _english(country),
        "country_code": _member(country, "iso_code", str),
        "region": _english(region),
        "region_code": _member(region, "iso_code", str),
        "city": _english(record.get("city")),
        "latitude": _member(place, "latitude", float),
        "longitude": _member(place, "longitude", float),
        "timezone": _member(place, "time_zone", str),
    }

    return {name: value for name, value in found.items() if value is not None}


def _public_address(text: str) -> str | None:
    """Normalise an address that can have a place; None for any other text."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        return None
    if any(address in network for network in _INSIDE):
        return None

    return str(address)


def _english(entry: object) -> str | None:
    """Take the English name of a country, subdivision or city."""
    names = entry.get("names") if isinstance(entry, dict) else None

    return _member(names, "en", str)


def _member(entry: object, name: str, kind: type[Member]) -> Member | None:
    """Take a member of a record if it has the type that the format promises."""
    member = entry.get(name) if isinstance(entry, dict) else None

    return member if isinstance(member, kind) else None


def _unusable(path: Path, fault: str) -> GeoDatabaseError:
    """Say what is wrong with which file, and what helps."""
    return GeoDatabaseError(
        f"geo database {str(path)!r} {fault}. Give the path of a City database in MaxMind's format (such as GeoLite2 "
        "City or DB-IP City Lite), or take 'geo' out of the topology's list of enrichments."
    )
