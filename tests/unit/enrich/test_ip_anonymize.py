"""Shortening of IP addresses."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.enrich import create_enrich
from pipeline.model.addresses import anonymize_ip

# A busy machine must not fail a law.
unhurried = settings(deadline=None)


@pytest.mark.parametrize(
    ("ip", "shortened"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("203.0.113.0", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("2001:DB8:1::", "2001:db8:1::"),
        ("::ffff:203.0.113.77", "::ffff:203.0.113.0"),
        ("::ffff:cb00:714d", "::ffff:203.0.113.0"),
        ("2002:cb00:714d:1::5", "2002:cb00:7100::"),
        ("64:ff9b::203.0.113.77", "64:ff9b::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("not an address", None),
        ("203.0.113.77:8080", None),
        ("", None),
    ],
)
def test_an_address_is_shortened(ip: str, shortened: str | None) -> None:
    """IPv4 loses its last octet and IPv6 its last 80 bits, wherever an IPv4 address hides."""
    assert shortened == anonymize_ip(ip)


@unhurried
@given(st.ip_addresses())
def test_shortening_twice_equals_once(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """A shortened address is a valid one that stays as it is."""
    shortened = anonymize_ip(str(address))

    assert shortened is not None
    assert shortened == anonymize_ip(shortened)


@unhurried
@given(st.ip_addresses(v=4), st.integers(0, 255))
def test_neighbours_become_one(address: ipaddress.IPv4Address, octet: int) -> None:
    """All 256 addresses of a network end as the same."""
    neighbour = ".".join([*str(address).split(".")[:3], str(octet)])

    assert anonymize_ip(str(address)) == anonymize_ip(neighbour)


def test_the_event_keeps_the_network_only() -> None:
    """The address in the event is replaced."""
    message: dict[str, Any] = {"context": {"ip": "203.0.113.77", "locale": "en"}}

    create_enrich(["ip_anonymize"], {})(message)

    assert {"context": {"ip": "203.0.113.0", "locale": "en"}} == message


@pytest.mark.parametrize("ip", ["203.0.113.77, 10.0.0.1", "x" * 99, ["203.0.113.77"], {"v4": "203.0.113.77"}, 3405803853])
def test_what_could_hide_an_address_is_removed(ip: object) -> None:
    """A value of another shape is taken out, since it can't be shortened."""
    message: dict[str, Any] = {"context": {"ip": ip}}

    create_enrich(["ip_anonymize"], {})(message)

    assert {"context": {}} == message


@pytest.mark.parametrize("message", [{}, {"context": None}, {"context": "x"}, {"context": {"ip": None}}])
def test_an_event_without_address_stays(message: dict[str, Any]) -> None:
    """Nothing is added to an event that has no address."""
    before = repr(message)

    create_enrich(["ip_anonymize"], {})(message)

    assert before == repr(message)


def test_a_source_can_switch_it_off() -> None:
    """With the switch off the whole address stays."""
    message: dict[str, Any] = {"context": {"ip": "203.0.113.77"}}

    create_enrich(["ip_anonymize"], {"ip_anonymize": {"enabled": False}})(message)

    assert {"context": {"ip": "203.0.113.77"}} == message
