"""Whose address counts behind proxies, and that no client can make one up."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.forwarded import client_address

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:5678"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, unknown"], ""),
        ("10.0.0.1", [""], ""),
    ],
)
def test_the_right_most_untrusted_hop(peer: str, forwarded: list[str], client: str) -> None:
    """What trusted proxies added is believed, what stands to the left of it is not."""
    assert client == client_address(peer, forwarded, TRUSTED)


@given(st.lists(st.text(max_size=30), max_size=5))
def test_a_client_can_make_up_nothing(made_up: list[str]) -> None:
    """Whatever headers it sends, the address that the proxy saw is the one that counts."""
    for forwarded in ([*made_up, "198.51.100.1"], [",".join([*made_up, "198.51.100.1"])]):
        assert client_address("10.0.0.1", forwarded, TRUSTED) == "198.51.100.1"
    assert client_address("203.0.113.9", made_up, TRUSTED) == "203.0.113.9"
