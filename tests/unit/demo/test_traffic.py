"""The demo's stream of calls."""

from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from pipeline.demo import DemoCall, shop_events
from pipeline.demo.devices import BOTS
from pipeline.demo.traffic import iso

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
START_MS = 1_773_480_000_000
RATE = 50.0
FAMILIES = ("ecommerce", "b2b", "mobile", "email", "video", "others")


@pytest.fixture(scope="module")
def calls() -> list[DemoCall]:
    """Take the first 5,000 calls of one stream."""
    return list(islice(shop_events(7, START_MS, RATE), 5_000))


def as_bytes(calls: list[DemoCall]) -> bytes:
    """Serialise a stream, each call with its moment and kind."""
    return orjson.dumps([tuple(call) for call in calls])


def by_title(pattern: str) -> dict[str, Any]:
    """Compile the schemas under a pattern, by title."""
    schemas = [orjson.loads(path.read_bytes()) for path in SCHEMAS.glob(pattern)]
    return {schema["title"]: jsonschema_rs.validator_for(schema) for schema in schemas}


def test_same_arguments_same_calls(calls: list[DemoCall]) -> None:
    """A second stream of the same seed, start and rate is the same, byte for byte."""
    again = list(islice(shop_events(7, START_MS, RATE), 5_000))

    assert as_bytes(calls) == as_bytes(again)


def test_another_seed_other_calls(calls: list[DemoCall]) -> None:
    """A stream of another seed shares no message id."""
    other = islice(shop_events(8, START_MS, RATE), 1_000)

    assert set() == {call.body["messageId"] for call in calls if call.kind == "normal"} & {call.body["messageId"] for call in other}


def test_a_later_start_is_no_repetition(calls: list[DemoCall]) -> None:
    """The same seed started later makes new message ids, so that a second demo run is not taken for duplicates."""
    later = islice(shop_events(7, START_MS + 60_000, RATE), 1_000)
    ids = {call.body["messageId"] for call in calls if call.kind == "normal"}

    assert set() == ids & {call.body["messageId"] for call in later}


def test_every_kind_comes(calls: list[DemoCall]) -> None:
    """Of 5,000 calls some are of each kind, in about the shares that the stream promises."""
    kinds = Counter(call.kind for call in calls)

    assert {"normal", "duplicate", "late", "bad", "bot"} == kinds.keys()
    assert kinds["normal"] > 4_500
    assert min(kinds.values()) > 20


def test_every_type_comes(calls: list[DemoCall]) -> None:
    """Normal calls are of all six types."""
    types = {call.body["type"] for call in calls if call.kind == "normal"}

    assert {"identify", "track", "page", "screen", "group", "alias"} == types


def test_calls_leave_in_order_at_the_rate(calls: list[DemoCall]) -> None:
    """Calls never go back in time, and 5,000 of them at 50 a second take about 100 seconds."""
    assert all(one.at_ms <= two.at_ms for one, two in pairwise(calls))
    assert 90_000 < calls[-1].at_ms - START_MS < 110_000


def test_what_is_not_bad_is_valid(calls: list[DemoCall]) -> None:
    """Every call that is not bad follows the published schema of its type."""
    validators = by_title("calls/*.json")

    assert [] == [call for call in calls if call.kind != "bad" and not validators[call.body["type"]].is_valid(call.body)]


def test_what_is_bad_is_not(calls: list[DemoCall]) -> None:
    """Every bad call is of no known type, refused by its type's schema, or larger than 32 KiB."""
    validators = by_title("calls/*.json")
    taken = [
        call
        for call in calls
        if call.kind == "bad"
        and call.body["type"] in validators
        and validators[call.body["type"]].is_valid(call.body)
        and len(orjson.dumps(call.body)) <= 32 * 1024
    ]

    assert [] == taken


def test_track_calls_follow_their_events_schema(calls: list[DemoCall]) -> None:
    """Every track call that is not bad is a named semantic event and follows its schema."""
    validators = by_title("events/*/*.json")
    tracks = [call.body for call in calls if call.kind != "bad" and call.body["type"] == "track"]

    assert [] == [body for body in tracks if not validators[body["event"]].is_valid(body)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_events_comes(calls: list[DemoCall], family: str) -> None:
    """Each family of semantic events occurs among the normal calls."""
    assert by_title(f"events/{family}/*.json").keys() & {call.body.get("event") for call in calls if call.kind == "normal"}


def test_a_duplicate_repeats_an_earlier_call(calls: list[DemoCall]) -> None:
    """A duplicate is an earlier normal call again, but for the time at which it was sent."""
    seen: dict[str, dict[str, Any]] = {}
    for call in calls:
        if call.kind == "duplicate":
            assert seen[call.body["messageId"]] == {**call.body, "sentAt": seen[call.body["messageId"]]["sentAt"]}
        elif call.kind == "normal":
            assert call.body["messageId"] not in seen
            seen[call.body["messageId"]] = call.body


def test_a_late_call_happened_hours_ago(calls: list[DemoCall]) -> None:
    """A late call happened an hour or more before it leaves; a normal one the moment before."""
    for call in calls:
        if call.kind == "late":
            assert call.body["timestamp"] <= iso(call.at_ms - 3_600_000)
        elif call.kind == "normal":
            assert (iso(call.at_ms - 40), iso(call.at_ms)) == (call.body["timestamp"], call.body["sentAt"])


def test_only_robots_have_robots_user_agents(calls: list[DemoCall]) -> None:
    """A robot's call names a robot's user agent, and no other call does."""
    for call in calls:
        assert (call.kind == "bot") is (call.body["context"].get("userAgent") in BOTS)


def test_bodies_are_about_one_kilobyte(calls: list[DemoCall]) -> None:
    """A normal call is 1 KB of JSON on average, give or take a fifth."""
    sizes = [len(orjson.dumps(call.body)) for call in calls if call.kind == "normal"]

    assert 800 < sum(sizes) / len(sizes) < 1_200


def test_text_is_of_many_scripts(calls: list[DemoCall]) -> None:
    """Calls hold Latin, Cyrillic, Arabic and Chinese text and emoji."""
    text = as_bytes(calls).decode()

    assert all(letter in text for letter in "ßОه茶🙂")


def test_people_are_linked_across_devices(calls: list[DemoCall]) -> None:
    """Some customer is known by several anonymous ids, as one who comes back with another device is."""
    devices: dict[str, set[str]] = {}
    for call in calls:
        if call.kind == "normal" and "userId" in call.body and "anonymousId" in call.body:
            devices.setdefault(call.body["userId"], set()).add(call.body["anonymousId"])

    assert max(map(len, devices.values())) > 1


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_must_be_above_zero(rate: float) -> None:
    """A rate that makes no sense is refused at once, not at the first call."""
    with pytest.raises(ValueError, match="rate must be above 0"):
        shop_events(1, START_MS, rate)


def test_iso_has_milliseconds_and_z() -> None:
    """A moment is written in UTC with three digits of a second."""
    assert "2026-03-14T09:20:00.007Z" == iso(START_MS + 7)
