"""Validate: whose a record is, where it lies, and what it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model import ids, json_text
from pipeline.model.outcomes import Dead, Drop, Emit, Emits, Outcome
from pipeline.model.reasons import REASONS
from pipeline.model.record import Message, Record
from pipeline.model.workspace import Source, Workspace
from pipeline.resources import resource
from pipeline.validate import create_validate

SCHEMAS = resource("schemas")
CALLS = SCHEMAS / "calls"
SCHEMA_OF = {path.stem: orjson.loads(path.read_bytes()) for path in CALLS.glob("*.json")}
VALID = sorted((CALLS / "examples").glob("*.json"))
INVALID = sorted((CALLS / "examples" / "invalid").glob("*.json"))
HEALED = {"message_id_missing", "group_id_not_string", "previous_id_not_string"}
NAMED_OTHERWISE = {"ids_empty": "no_user_anon_id", "event_empty": "event_not_defined"}
RECEIVED_MS = 1_773_480_414_100  # 2026-03-14T09:26:54.100Z
WORKSPACE = Workspace("shop", 1, sources={"web": Source("web"), "off": Source("off", enabled=False), "big": Source("big", event_bytes=65536)})
STEP = create_validate(WORKSPACE, {"key-web": "web", "key-gone": "gone"}, SCHEMA_OF, partitions=4)
NAMES = st.sampled_from(
    [*SCHEMA_OF["track"]["properties"], "traits", "groupId", "previousId", "name", "all", "writeKey", "track", "identify", "group", "u"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(), inner, max_size=6),
    max_leaves=20,
)


def _message(body: Any, *, key: bytes | None = b"", headers: Mapping[str, bytes] | None = None, partition: int | None = None) -> Message:  # noqa: ANN401 (JSON)
    """Make a message that lies where it belongs, unless said otherwise; an empty key stands for the right one."""
    if key == b"":
        key = ids.event_key(body) if isinstance(body, dict) else None
    if partition is None:
        partition = ids.partition_of(key, 4) if key else 0
    value = json_text.encode(body)
    given_headers = {"source": b"web"} if headers is None else dict(headers)
    record = Record("shop.raw", partition, 7, RECEIVED_MS, key, value, tuple(given_headers.items()))
    return Message(json_text.decode(value)[0], key, given_headers, record)


def _judge(body: Any, **how: Any) -> tuple[Outcome | None, Message]:  # noqa: ANN401 (JSON)
    message = _message(body, **how)
    return STEP(message), message


def _track(**overrides: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    return {"type": "track", "event": "Order Completed", "anonymousId": "a-1", "messageId": "m-1", **overrides}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_examples_pass_unchanged(path: Any) -> None:  # noqa: ANN401 (a path of whatever kind the resources have)
    """A normalised example goes on, with nothing but its arrival written anew."""
    body = orjson.loads(path.read_bytes())
    outcome, message = _judge(body)
    assert outcome is None
    changed = {name for name in body if message.body[name] != body[name]}
    assert changed <= {"receivedAt", "timestamp"}
    assert message.body.keys() == body.keys()


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_examples_have_their_reason(path: Any) -> None:  # noqa: ANN401 (the same)
    """An invalid example is refused for the registered reason that it is named after, or healed into a valid one."""
    fault = path.stem.partition("-")[2]
    outcome, message = _judge(orjson.loads(path.read_bytes()))
    if fault in HEALED:
        assert outcome is None
        assert create_validate(WORKSPACE, {}, SCHEMA_OF, partitions=4)(_message(message.body)) is None
    else:
        assert isinstance(outcome, Dead)
        assert outcome.reason == NAMED_OTHERWISE.get(fault, fault)
        assert outcome.reason in REASONS


@given(JSON, st.booleans())
def test_no_value_makes_it_raise(body: Any, as_call: bool) -> None:  # noqa: ANN401, FBT001 (JSON; a case)
    """Any JSON value gets an outcome with a registered reason, and what passes is in its one form."""
    if as_call and isinstance(body, dict):
        body = {"type": "track", "event": "e", "userId": "u", **body}
    outcome, message = _judge(body)
    if isinstance(outcome, Dead | Drop):
        assert outcome.reason in REASONS
    elif outcome is None:
        again = _message(message.body)
        assert STEP(again) is None
        times = {"timestamp": "", "originalTimestamp": ""}  # the first pass is what made them ours
        assert {**again.body, **times} == {**message.body, **times}


@pytest.mark.parametrize(
    ("headers", "write_key", "named"),
    [
        ({"source": b"web"}, None, "web"),
        ({"source": b"web"}, "key-gone", "web"),
        ({}, "key-web", "web"),
        ({"source": b""}, "key-web", "web"),
        ({}, "key-gone", ""),
        ({}, ["key-web"], ""),
        ({}, None, ""),
        ({"source": b"gone"}, "key-web", ""),
        ({"source": b"\xff"}, "key-web", ""),
    ],
)
def test_source(headers: dict[str, bytes], write_key: object, named: str) -> None:
    """The header names the source, else its write key; the write key goes no further."""
    outcome, message = _judge(_track(writeKey=write_key), headers=headers)
    assert outcome == (None if named else Dead("unknown_source"))
    assert message.source == named
    assert "writeKey" not in message.body


def test_default_source() -> None:
    """A record that names no source belongs to the default source, and carries its header from then on."""
    workspace = Workspace("shop", 1, sources={"web": Source("web")}, default_source="web")
    message = _message(_track(), headers={})
    assert create_validate(workspace, {}, SCHEMA_OF, partitions=4)(message) is None
    assert (message.source, message.headers["source"]) == ("web", b"web")


def test_disabled_source() -> None:
    """Events of a disabled source are dropped."""
    assert _judge(_track(), headers={"source": b"off"})[0] == Drop("source_disabled")


@pytest.mark.parametrize(("key", "partition"), [(None, 1), (b"other", None), (b"", 1)])
def test_a_record_in_the_wrong_place_goes_back(key: bytes | None, partition: int | None) -> None:
    """A record with another key or in another partition goes back to raw under its key, byte for byte, and is then judged."""
    assert ids.partition_of(b"a-1", 4) == 0
    outcome, message = _judge(_track(), key=key, partition=partition, headers={"source": b"web", "traceparent": b"t"})
    headers = (("traceparent", b"t"), ("source", b"web"), ("received_at", b"1773480414100"), ("rekeyed", b"4"))
    value = message.record.value
    assert value is not None
    assert outcome == Emits((Emit("raw", b"a-1", value, headers),))
    assert message.withheld == [("", "rekeyed")]

    second, _ = _judge(_track(), headers=dict(headers))
    assert second is None


def test_a_record_never_goes_back_twice() -> None:
    """Where the topic has another number of partitions than we believe, a record is judged where it lies."""
    outcome, message = _judge(_track(), partition=1, headers={"source": b"web", "rekeyed": b"4"})
    assert outcome is None
    assert "rekeyed" not in message.headers
    assert isinstance(_judge(_track(), partition=1, headers={"source": b"web", "rekeyed": b"2"})[0], Emits)


def test_arrival() -> None:
    """The arrival is the header's unless that is more than a day off, else the broker's; what a client says of it is ignored."""
    for headers, text in (
        ({}, "2026-03-14T09:26:54.100Z"),
        ({"received_at": b"1773480000000"}, "2026-03-14T09:20:00.000Z"),
        ({"received_at": b"0"}, "2026-03-14T09:26:54.100Z"),
        ({"received_at": b"253402300799999"}, "2026-03-14T09:26:54.100Z"),
        ({"received_at": b"x"}, "2026-03-14T09:26:54.100Z"),
    ):
        outcome, message = _judge(_track(receivedAt="1999-01-01T00:00:00Z"), headers={"source": b"web", **headers})
        assert outcome is None
        assert message.body["receivedAt"] == text


@pytest.mark.parametrize(
    ("times", "corrected", "original"),
    [
        ({}, "2026-03-14T09:26:54.100Z", None),
        ({"timestamp": None, "originalTimestamp": None, "sentAt": None}, "2026-03-14T09:26:54.100Z", None),
        ({"timestamp": "2026-03-14T09:00:00Z"}, "2026-03-14T09:00:00.000Z", "2026-03-14T09:00:00Z"),
        ({"timestamp": "2026-03-14T10:00:00+01:00"}, "2026-03-14T09:00:00.000Z", "2026-03-14T10:00:00+01:00"),
        ({"timestamp": "2026-03-14T09:00:00.123456789Z"}, "2026-03-14T09:00:00.123Z", "2026-03-14T09:00:00.123456789Z"),
        # A clock one day ahead, ten seconds between the event and its request.
        ({"timestamp": "2026-03-15T09:00:00Z", "sentAt": "2026-03-15T09:00:10Z"}, "2026-03-14T09:26:44.100Z", "2026-03-15T09:00:00Z"),
        # rudder-sdk-node: the time that its caller gave, beside the time of the call.
        (
            {"originalTimestamp": "2026-03-14T09:00:00Z", "timestamp": "2020-01-01T00:00:00Z", "sentAt": "2026-03-14T09:00:10Z"},
            "2020-01-01T00:00:00.000Z",
            "2026-03-14T09:00:00Z",
        ),
        ({"originalTimestamp": "2020-01-01T00:00:00Z", "timestamp": "yesterday"}, "2020-01-01T00:00:00.000Z", "2020-01-01T00:00:00Z"),
        ({"timestamp": "2030-01-01T00:00:00Z"}, "2026-03-14T09:26:54.100Z", "2030-01-01T00:00:00Z"),
        ({"timestamp": "yesterday"}, "2026-03-14T09:26:54.100Z", "yesterday"),
        ({"timestamp": "2026-03-14T09:00:00Z", "sentAt": "soon"}, "2026-03-14T09:00:00.000Z", "2026-03-14T09:00:00Z"),
        ({"timestamp": "2026-03-14T09:00:00Z", "sentAt": ""}, "2026-03-14T09:00:00.000Z", "2026-03-14T09:00:00Z"),
        ({"timestamp": "0001-01-01T00:00:00Z", "sentAt": "9999-12-31T00:00:00Z"}, "2026-03-14T09:26:54.100Z", "0001-01-01T00:00:00Z"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "2026-03-14T09:26:54.100Z", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_clock_correction(times: dict[str, Any], corrected: str, original: str | None) -> None:
    """The timestamp is corrected for the client's clock and never later than the arrival; the client's own text stays."""
    outcome, message = _judge(_track(**times))
    assert outcome is None
    assert message.body["timestamp"] == corrected
    assert message.body.get("originalTimestamp") == original
    assert message.body.get("sentAt") == times.get("sentAt")


def test_numbers_become_ids() -> None:
    """A numeric id becomes text, as JavaScript writes it."""
    for number, text in ((17, "17"), (12.0, "12"), (1.5, "1.5"), (2**70, str(2**70))):
        message = Message(
            _track(anonymousId=number),
            text.encode(),
            {"source": b"web"},
            Record("shop.raw", ids.partition_of(text.encode(), 4), 0, 0, text.encode(), b"{}"),
        )
        assert STEP(message) is None
        assert message.body["anonymousId"] == text


def test_type_in_other_letters() -> None:
    """The type is known in upper case too, and an unknown one is refused."""
    assert _judge(_track(type="Track"))[1].body["type"] == "track"
    for wrong in ("click", "", None, 5, ["track"]):
        assert _judge(_track(type=wrong))[0] == Dead("unknown_type", "/type is none of the six calls")


def test_a_missing_message_id_is_derived() -> None:
    """A retry of the same bytes gets the same message id where sentAt marks it, and otherwise each record has its own."""
    derived = [
        _judge(_track(messageId=None, sentAt="2026-03-14T09:00:00Z"), headers={"source": source})[1].body["messageId"]
        for source in (b"web", b"web", b"big")
    ]
    assert derived[0] == derived[1] != derived[2]
    first = _message(_track(messageId=""))
    second = Message(dict(first.body), first.key, dict(first.headers), first.record._replace(offset=8))
    assert (STEP(first), STEP(second)) == (None, None)
    assert first.body["messageId"] != second.body["messageId"]


def test_identify_traits_from_context() -> None:
    """An identify without traits takes those of its context; its own win, and no other call takes them."""
    context = {"traits": {"plan": "plus"}}
    assert _judge({"type": "identify", "userId": "u", "context": context})[1].body["traits"] == {"plan": "plus"}
    assert _judge({"type": "identify", "userId": "u", "context": context, "traits": {"a": 1}})[1].body["traits"] == {"a": 1}
    assert "traits" not in _judge(_track(context=context))[1].body


def test_options() -> None:
    """Null options are absent ones, and Go's `all` is `All`."""
    body = _judge(_track(context=None, integrations=None))[1].body
    assert body.keys().isdisjoint({"context", "integrations"})
    assert _judge(_track(integrations={"all": False, "crm": True}))[1].body["integrations"] == {"All": False, "crm": True}
    assert _judge(_track(integrations={"all": False, "All": True}))[1].body["integrations"] == {"All": True}


def test_limits() -> None:
    """An event that is too large, too deep or has too many keys is refused; one at the limit is not."""
    deep: dict[str, Any] = {}
    for _ in range(61):
        deep = {"d": deep}
    assert _judge(_track(properties={"p": deep}))[0] is None  # 64 levels with the event's own
    assert _judge(_track(properties={"p": [deep]}))[0] == Dead("too_deep", "more than 64 levels")
    many = _track(properties={str(number): 1 for number in range(9_995)})
    many["properties"]["one more"] = many["properties"]["and another"] = 1
    assert _judge(many, headers={"source": b"big"})[0] == Dead("too_many_keys", "more than 10000 keys")
    spaced = _message(_track())
    spaced.record = spaced.record._replace(value=(spaced.record.value or b"") + b" " * 40_000)
    assert STEP(spaced) is None
    large = _judge(_track(properties={"text": "x" * 66_000}))[0]  # a batch may make an event twice as large as its source may send
    assert isinstance(large, Dead)
    assert large.reason == "event_too_large"
    assert _judge(_track(properties={"text": "x" * 66_000}), headers={"source": b"big"})[0] is None


def test_details_name_no_values() -> None:
    """What a dead letter says of an event holds none of its values."""
    outcome, _ = _judge(_track(userId=["zoe@example.com"]))
    assert outcome == Dead("id_not_string", "/userId is an array, not a string")


def test_every_call_needs_a_schema() -> None:
    """Without the schema of a call the step is not made."""
    with pytest.raises(ValueError, match="no JSON Schema for the calls alias"):
        create_validate(WORKSPACE, {}, {name: schema for name, schema in SCHEMA_OF.items() if name != "alias"}, partitions=4)


def test_a_stricter_call_schema_needs_no_reason_of_its_own() -> None:
    """What no other reason names is a bad request, with its place."""
    schemas = {**SCHEMA_OF, "track": {"type": "object", "required": ["plan"]}}
    step = create_validate(WORKSPACE, {}, schemas, partitions=4)
    assert step(_message(_track())) == Dead("bad_request", "/ breaks the rule required")
