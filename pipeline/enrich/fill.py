"""The one rule by which every enrichment adds what it found: fill gaps, never mix.

Facts that describe one thing (a device, a place, a campaign) come as a group. A client's group that contradicts ours in
any fact describes something else, and half of each would describe nothing: Windows in the version of macOS, Paris in
the country of a VPN's exit. Such a group is left as it came.
"""

from typing import Any

__all__ = ["fill"]

_ABSENT = (None, "")


def fill(context: dict[str, Any], key: str, facts: dict[str, Any]) -> None:
    """Add the facts that are absent from ``context[key]``, unless the client's own contradict them.

    Null counts as absent (``reference/tracking-api.md`` §9: null is the same as absent), and so does an empty text:
    RudderStack's browser SDK sends ``os: {name: "", version: ""}`` with every event. Filling twice equals filling once.
    The facts are copied one level deep, so that a cached group is never shared between events.

    Args:
        context: The event's context; changed in place.
        key: Which group of it, such as ``device``.
        facts: The names and values found; none of them null.

    """
    given = context.get(key)
    if given is None:
        context[key] = facts.copy()
        return
    if type(given) is not dict:
        return

    for name, fact in facts.items():
        own = given.get(name)
        if own not in _ABSENT and own != fact and not _same_text(own, fact):
            return

    for name, fact in facts.items():
        if given.get(name) in _ABSENT:
            given[name] = fact


def _same_text(own: object, fact: object) -> bool:
    """Tell whether both are the same text but for letter case, as ``android`` and ``Android`` are."""
    return type(own) is str and type(fact) is str and own.casefold() == fact.casefold()
