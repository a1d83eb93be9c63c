"""Which web pages may send to a source that names them."""

from __future__ import annotations

from collections.abc import Sequence


def origin_allowed(origin: str, allowed: Sequence[str]) -> bool:
    """Say whether a page may send.

    Args:
        origin: Value of the Origin header: `https://shop.example`, or `null`.
        allowed: Origins; `https://*.shop.example` stands for every host below `shop.example`, and not for itself.

    Returns:
        Whether one of them is meant.
    """
    origin = origin.lower()
    return any(origin == one or ("*" in one and _below(origin, one)) for one in allowed)


def _below(origin: str, pattern: str) -> bool:
    scheme, _, domain = pattern.partition("*")
    # `https://` in front and `.shop.example` behind; what stands between must be labels of a host name, no port and no path.
    between = origin[len(scheme) : -len(domain)]
    return origin.startswith(scheme) and origin.endswith(domain) and bool(between) and all(sign.isalnum() or sign in "-." for sign in between)
