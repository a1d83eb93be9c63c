"""Which addresses are inside our own network, however they are written."""

from __future__ import annotations

import pytest

from pipeline.deliver.addresses import is_public, leads_inside


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_public(address: str) -> None:
    """An address of the public internet may be reached, also wrapped."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),  # noqa: S104 (judged, not bound)
        *("224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "::", "::1", "fe80::1%eth0", "fd00::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "nonsense", ""),
    ],
)
def test_not_public(address: str) -> None:
    """Loopback, private, link-local, shared, multicast, reserved and unspecified ones may not, in any wrapping."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "app.localhost", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "::1", "fd00::1", "169.254.169.254"]
)
def test_a_host_that_leads_inside_is_known_without_a_resolver(host: str) -> None:
    """A private address says so in every spelling, and so does localhost."""
    assert leads_inside(host)


@pytest.mark.parametrize("host", ["crm.example.com", "localhost.example.com", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "crm", ""])
def test_of_other_hosts_only_a_connection_tells(host: str) -> None:
    """A public address is none inside, and what a name means is not known."""
    assert not leads_inside(host)
