"""The integrations object: how a client switches destinations on and off for one event.

`All` (true unless it says false) holds for every destination that no other name in the object means. A name means a
destination when it is its id or, less exactly, the slug of its type; an id wins over a slug. Names are case-sensitive.
`false` switches off; `true`, and an object (options for that destination), switch on; null is the same as absent. Storage
is not switched by it. Source: Tracking API, the event, `integrations`; connections, routing of one event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NAMES_OF_NO_DESTINATION: Final = frozenset({"All", "Segment.io"})
"""What an integrations object may name beside destinations: all of them, and the one that events came through."""


def switches(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Take the integrations object of an event where it says anything.

    Args:
        body: The event.

    Returns:
        The object, or None where it is absent, empty, no object, or only says that all are on.
    """
    given = body.get("integrations")
    if not given or given.__class__ is not dict or (len(given) == 1 and given.get("All") is True):
        return None
    return given


def is_on(given: Mapping[str, Any], destination: str, slug: str) -> bool:
    """Say whether an integrations object leaves a destination on.

    Args:
        given: The object.
        destination: Id of the destination.
        slug: Slug of its type.

    Returns:
        Whether the event may go there.
    """
    switch = given.get(destination)
    if switch is None:
        switch = given.get(slug)
        if switch is None:
            switch = given.get("All")
    return switch is not False
