"""The address under which a client reached the collector: what it is told to send to.

The collector may have several names and stand behind a proxy that ends TLS, so the request says it: the Host header, and X-Forwarded-Proto. A page
on https cannot ask a plain address of another machine (mixed content), so its Origin says the scheme where a proxy doesn't.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._-]{1,253})(:[0-9]{1,5})?")
_THIS_MACHINE: Final = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)


class Address(NamedTuple):
    """Where a collector is reached.

    Attributes:
        scheme: `http` or `https`.
        host: Name or address, with a port where it is not the scheme's own.
    """

    scheme: str
    host: str

    def __str__(self) -> str:
        """Write it as an address without a slash at its end."""
        return f"{self.scheme}://{self.host}"


def address_of(host: str | None, forwarded_proto: str | None, origin: str | None) -> Address | None:
    """Read the address that a request was sent to.

    Args:
        host: Value of the Host header.
        forwarded_proto: Value of the X-Forwarded-Proto header; the first of several counts.
        origin: Value of the Origin header.

    Returns:
        The address; None where the Host header is missing or none.
    """
    if host is None or _HOST.fullmatch(host) is None:
        return None
    said = (forwarded_proto or "").partition(",")[0].strip().lower()
    if said in ("http", "https"):
        return Address(said, host)
    secure = origin is not None and origin.startswith("https://") and _THIS_MACHINE.fullmatch(host) is None
    return Address("https" if secure else "http", host)
