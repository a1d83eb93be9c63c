"""Places of IP addresses, over the invented City database of ``tests/data/geo``."""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.enrich import create_enrich
from pipeline.enrich.geo import (
    GeoDatabaseError,
    GeoReader,
    open_geo_reader,
    read_location,
)

DATA = Path(__file__).parents[2] / "data" / "geo"
CITY = DATA / "test-city.mmdb"
WRITER = runpy.run_path(str(DATA / "write_city_database.py"))
RIVERTON = {
    "country": "Exampleland",
    "country_code": "XA",
    "region": "North",
    "region_code": "NO",
    "city": "Riverton",
    "latitude": 12.5,
    "longitude": -45.25,
    "timezone": "Etc/GMT+3",
}


@pytest.fixture(scope="module")
def reader() -> GeoReader:
    """Look-up over the test database."""
    return open_geo_reader(CITY)


def locate(reader: GeoReader, ip: object, **context: object) -> object:
    """Run the enrichment over an event with this IP; return its location."""
    message: dict[str, Any] = {"context": {"ip": ip, **context}}
    create_enrich(["geo"], {"geo": {"reader": reader}})(message)

    return message["context"].get("location")


def test_the_test_database_is_current() -> None:
    """The committed file is what its writer writes today."""
    assert WRITER["city_database"]() == CITY.read_bytes()


@pytest.mark.parametrize(
    ("ip", "location"),
    [
        ("203.0.113.77", RIVERTON),
        ("::ffff:203.0.113.77", RIVERTON),
        ("198.51.100.3", {"country": "Samplia", "country_code": "XB"}),
        (
            "2001:db8:1::5",
            {
                "country": "Demoria",
                "country_code": "XC",
                "city": "Lakeside",
                "latitude": 0.0,
                "longitude": 100.0,
                "timezone": "Etc/UTC",
            },
        ),
    ],
)
def test_a_known_address_is_located(reader: GeoReader, ip: str, location: dict[str, Any]) -> None:
    """Each address gets just the facts that its record holds."""
    assert location == locate(reader, ip)


@pytest.mark.parametrize(
    "ip",
    [
        "192.0.2.1",
        "2001:db8:2::1",
        "",
        "unknown",
        "203.0.113.77:80",
        "203.0.113.77, 10.0.0.1",
        "1" * 99,
        None,
        7,
        [],
    ],
)
def test_an_unknown_address_adds_nothing(reader: GeoReader, ip: object) -> None:
    """An address that the database lacks, or that is none, leaves no location."""
    assert locate(reader, ip) is None


@pytest.mark.parametrize(
    "ip",
    [
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "224.0.0.1",
        "0.0.0.0",  # noqa: S104  (an address to ignore, nothing is bound)
        "::1", "::", "fe80::1", "fe80::1%eth0", "2001:db8:1::5%eth0", "fd00::1", "::ffff:10.0.0.1",
    ],
)  # fmt: skip
def test_inside_addresses_are_never_looked_up(ip: str) -> None:
    """Private, loopback, link-local and scoped addresses don't reach the database."""
    asked: list[str] = []

    def record_question(address: str) -> Mapping[str, Any]:
        asked.append(address)
        return {}

    locate(record_question, ip)

    assert [] == asked


def test_an_address_is_looked_up_once() -> None:
    """The second event of an address is answered from memory, also where the database knows nothing."""
    asked: list[str] = []

    def record_question(address: str) -> None:
        asked.append(address)

    enrich = create_enrich(["geo"], {"geo": {"reader": record_question}})
    for _ in range(3):
        enrich({"context": {"ip": "203.0.113.9"}})

    assert ["203.0.113.9"] == asked


def test_coordinates_of_the_client_stay(reader: GeoReader) -> None:
    """A phone that knows where it is isn't given the city of its provider."""
    own = {"latitude": 48.1, "longitude": 11.6}

    assert own == locate(reader, "203.0.113.77", location=dict(own))


def test_an_agreeing_location_is_completed(reader: GeoReader) -> None:
    """A location that names the same country keeps its values and gets the missing ones."""
    assert {**RIVERTON, "speed": 3} == locate(reader, "203.0.113.77", location={"country": "Exampleland", "speed": 3})


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"country": 5, "city": {"names": []}, "subdivisions": [], "location": {"latitude": "12"}},
        {"subdivisions": [3]},
    ],
)
def test_a_record_of_another_shape_yields_nothing(record: dict[str, Any]) -> None:
    """Members whose types the format does not promise are left out."""
    assert {} == read_location(record)


def test_ipv6_is_unknown_to_an_ipv4_database(tmp_path: Path) -> None:
    """A database of IPv4 answers None for IPv6 and still knows its own."""
    path = tmp_path / "four.mmdb"
    networks = {"203.0.113.0/24": WRITER["RIVERTON"]}
    path.write_bytes(WRITER["write_database"](networks, database_type="Test-City", ip_version=4))
    reader = open_geo_reader(path)

    assert RIVERTON == locate(reader, "203.0.113.77")
    assert reader("2001:db8:1::5") is None


def test_a_damaged_record_is_unknown(tmp_path: Path) -> None:
    """A record whose bytes are damaged answers None instead of failing the event."""
    path = tmp_path / "damaged.mmdb"
    healthy = CITY.read_bytes()
    record = healthy.index(b"\x44city")
    path.write_bytes(healthy[:record] + b"\xff" * 8 + healthy[record + 8 :])

    assert open_geo_reader(path)("203.0.113.77") is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(None, "does not exist", id="missing"),
        pytest.param(b"no database", "is not a MaxMind database", id="text"),
        pytest.param(b"", "is not a MaxMind database", id="empty"),
        pytest.param(CITY.read_bytes()[:900], "is not a MaxMind database", id="cut-short"),
        pytest.param(
            WRITER["write_database"]({"203.0.113.0/24": {}}, database_type="Test-ASN", ip_version=4),
            "holds no cities: its type is 'Test-ASN'",
            id="without-places",
        ),
    ],
)
def test_an_unusable_file_is_named_with_the_remedy(tmp_path: Path, content: bytes | None, fault: str) -> None:
    """The error names the file, its fault and what to do."""
    path = tmp_path / "places.mmdb"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(GeoDatabaseError) as caught:
        open_geo_reader(path)

    assert str(caught.value).startswith(f"geo database '{path}' {fault}")
    assert str(caught.value).endswith("or take 'geo' out of the topology's list of enrichments.")


def test_an_unreadable_path_is_named(tmp_path: Path) -> None:
    """What the system says about a path that can't be opened is passed on."""
    path = tmp_path / "file" / "places.mmdb"
    path.parent.write_bytes(b"")

    with pytest.raises(GeoDatabaseError, match=r"places\.mmdb' can't be read \(Not a directory\)"):
        open_geo_reader(path)
