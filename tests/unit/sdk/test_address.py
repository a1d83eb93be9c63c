"""Where a client reached the collector."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sdk import Address, address_of


@pytest.mark.parametrize(
    ("host", "forwarded", "origin", "expected"),
    [
        ("127.0.0.1:7070", None, None, Address("http", "127.0.0.1:7070")),
        ("cdp.example.com", "https", None, Address("https", "cdp.example.com")),
        ("cdp.example.com", "https, http", None, Address("https", "cdp.example.com")),
        ("cdp.example.com", None, "https://shop.example", Address("https", "cdp.example.com")),
        ("cdp.example.com", "http", "https://shop.example", Address("http", "cdp.example.com")),
        ("cdp.example.com", "gopher", "http://shop.example", Address("http", "cdp.example.com")),
        ("localhost:7070", None, "https://shop.example", Address("http", "localhost:7070")),
        ("[::1]:7070", None, None, Address("http", "[::1]:7070")),
        (None, "https", None, None),
        ("", None, None, None),
        ("evil.example/path", None, None, None),
        ("a@evil.example", None, None, None),
        ('x"onload=1', None, None, None),
    ],
)
def test_addresses(host: str | None, forwarded: str | None, origin: str | None, expected: Address | None) -> None:
    """The Host header names it, and the proxy or the page's own scheme says whether it is https."""
    assert expected == address_of(host, forwarded, origin)


@given(st.text(max_size=300))
def test_nothing_but_a_host_becomes_one(host: str) -> None:
    """No character that could end a host, a string or a tag gets through."""
    address = address_of(host, None, None)
    assert address is None or not set(address.host) & set("/\\@'\"<> \n?#")
