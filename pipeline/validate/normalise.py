"""What the spec's clients write in several ways, written in one."""

from __future__ import annotations

from typing import Any, Final

from pipeline.model.ids import event_key

_ABSENT: Final = object()
_WHOLE: Final = 2**53


def id_text(value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    """Write a numeric id as text.

    Args:
        value: What stands where an id belongs.

    Returns:
        Text for a number, as JavaScript writes it where it is whole (`12.0` and `12` are one id); else the value itself.
    """
    if value.__class__ is int:
        return str(value)
    if value.__class__ is float:
        return str(int(value)) if value.is_integer() and abs(value) < _WHOLE else repr(value)
    return value


def text_ids(body: dict[str, Any]) -> bytes | None:
    """Write the ids that every call may have as text, in place.

    Args:
        body: The event.

    Returns:
        Its key, made of them (`pipeline.model.ids.event_key`).
    """
    anonymous = body.get("anonymousId")
    if anonymous is not None and anonymous.__class__ is not str:
        anonymous = body["anonymousId"] = id_text(anonymous)
    user = body.get("userId")
    if user is not None and user.__class__ is not str:
        user = body["userId"] = id_text(user)
    if anonymous.__class__ is str and anonymous:
        return anonymous.encode("utf-8", "replace")
    return event_key(body)


def normalise_call(body: dict[str, Any], call: str) -> None:
    """Bring the parts of an event that depend on its call, and its options, into their one form, in place.

    Args:
        body: The event.
        call: The call, in lower case.
    """
    if call == "identify":
        _fill_traits(body)
    elif call == "group":
        body_id = body.get("groupId")
        if body_id.__class__ is not str and body_id is not None:
            body["groupId"] = id_text(body_id)
    elif call == "alias":
        body_id = body.get("previousId")
        if body_id.__class__ is not str and body_id is not None:
            body["previousId"] = id_text(body_id)

    integrations = body.get("integrations", _ABSENT)
    if integrations is None:
        del body["integrations"]
    elif integrations.__class__ is dict and "all" in integrations:  # Go's client
        integrations.setdefault("All", integrations.pop("all"))
    if body.get("context", _ABSENT) is None:
        del body["context"]


def _fill_traits(body: dict[str, Any]) -> None:
    """Take the traits from the context where RudderStack's clients put them and nowhere else."""
    traits = body.get("traits")
    context = body.get("context")
    if (traits is None or traits == {}) and context.__class__ is dict:
        given = context.get("traits")
        if given.__class__ is dict:
            body["traits"] = dict(given)
