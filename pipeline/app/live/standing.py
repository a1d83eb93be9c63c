"""What processes say of themselves, as the page shows it: their lag, and what does not flow, why, and what makes it flow again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Halt(NamedTuple):
    """Why nothing flows.

    Attributes:
        state: `parked`, `broken` or `disabled` for a destination, `stopped` for a member that the breaker stopped.
        reason: Registered reason of a destination's state; else empty.
        detail: What happened, where the reason does not say it.
        command: What makes it flow again, as one would type it.
    """

    state: str
    reason: str
    detail: str
    command: str


class Standing(NamedTuple):
    """What processes say of themselves.

    Attributes:
        lags: Lag by group, without prefix.
        stopped: What the breaker has stopped, by group.
        destinations: Destinations that take no requests, by id.
    """

    lags: Mapping[str, int] = {}
    stopped: Mapping[str, Halt] = {}
    destinations: Mapping[str, Halt] = {}


def standing(pages: Iterable[Mapping[str, Any]]) -> Standing:
    """Put the pages `/status.json` of several processes together.

    Args:
        pages: The pages.

    Returns:
        What they say. A destination that takes requests from one process and not from another counts as one that does not.
    """
    lags: dict[str, int] = {}
    stopped: dict[str, Halt] = {}
    destinations: dict[str, Halt] = {}
    for page in pages:
        for group in page.get("groups", ()):
            lags[group["group"]] = group["lag"]
            if group.get("stopped"):
                stopped[group["group"]] = Halt("stopped", "", group["trouble"], "headrace apply")
        for one in page.get("destinations", ()):
            if one["state"] != "open":
                destinations[one["destination"]] = Halt(one["state"], one["reason"], "", f"headrace destination resume {one['destination']}")
    return Standing(lags, stopped, destinations)
