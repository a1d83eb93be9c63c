"""Which pages may send."""

import pytest

from pipeline.ingest.origins import origin_allowed

ALLOWED = ("https://shop.example", "https://*.shop.example", "http://localhost:3000", "null")


@pytest.mark.parametrize(
    "origin",
    ["https://shop.example", "HTTPS://Shop.Example", "https://www.shop.example", "https://a.b.shop.example", "http://localhost:3000", "null"],
)
def test_named_origins_may(origin: str) -> None:
    """Exactly, or below a host with a star, whatever the case."""
    assert origin_allowed(origin, ALLOWED)


@pytest.mark.parametrize(
    "origin",
    [
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil.example",
        "https://evilshop.example",
        "https://.shop.example",
        "https://evil.example/.shop.example",
        "https://evil.example:1.shop.example",
        "https://a@b.shop.example",
        "http://localhost",
        "",
    ],
)
def test_others_may_not(origin: str) -> None:
    """Another scheme, port or host, and what only ends like a named one."""
    assert not origin_allowed(origin, ALLOWED)
